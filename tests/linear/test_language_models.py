"""Language models with several inputs train from their features as with logits: one in Keras, and KerasHub's if it is there."""

import importlib.util

import keras
import numpy as np
import pytest
from keras import layers

import keras_xent
from keras_xent.fused import LinearSparseCategoricalAccuracy, split_head

WORDS, LENGTH, HIDDEN, ROWS = 41, 8, 16, 6
COMMON = {"vocabulary_size": WORDS, "num_layers": 1, "hidden_dim": HIDDEN, "intermediate_dim": 32}


def decoder():
    """One causal block, with a tied and capped output where Keras has one."""
    words, padding = keras.Input((LENGTH,), dtype="int32", name="token_ids"), keras.Input((LENGTH,), name="padding_mask")
    tied = hasattr(layers, "ReversibleEmbedding")
    table = layers.ReversibleEmbedding(WORDS, HIDDEN, logit_soft_cap=5.0) if tied else layers.Embedding(WORDS, HIDDEN)
    hidden = table(words)
    seen = layers.Reshape((1, LENGTH))(padding)
    heard = layers.MultiHeadAttention(2, HIDDEN // 2)(hidden, hidden, attention_mask=seen, use_causal_mask=True)
    hidden = layers.LayerNormalization()(layers.Add()([hidden, heard]))
    hidden = layers.LayerNormalization()(layers.Add()([hidden, layers.Dense(HIDDEN, "gelu")(hidden)]))
    logits = table(hidden, reverse=True) if tied else layers.Dense(WORDS)(hidden)
    return keras.Model({"token_ids": words, "padding_mask": padding}, logits)


def gpt2():
    import keras_hub  # pyright: ignore[reportMissingImports]

    backbone = keras_hub.models.GPT2Backbone(num_heads=2, max_sequence_length=LENGTH, **COMMON)
    return keras_hub.models.GPT2CausalLM(backbone=backbone, preprocessor=None)


def gemma2():
    import keras_hub  # pyright: ignore[reportMissingImports]

    heads = {
        "num_query_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "use_post_ffw_norm": True,
        "use_post_attention_norm": True,
    }
    caps = {"attention_logit_soft_cap": 50.0, "final_logit_soft_cap": 5.0}
    return keras_hub.models.GemmaCausalLM(backbone=keras_hub.models.GemmaBackbone(**COMMON, **heads, **caps), preprocessor=None)


def llama(tied=False):
    import keras_hub  # pyright: ignore[reportMissingImports]

    backbone = keras_hub.models.Llama3Backbone(num_query_heads=2, num_key_value_heads=1, tie_word_embeddings=tied, **COMMON)
    return keras_hub.models.Llama3CausalLM(backbone=backbone, preprocessor=None)


MODELS = {"Keras": decoder}
if importlib.util.find_spec("keras_hub"):
    MODELS |= {"GPT-2": gpt2, "Gemma 2": gemma2, "Llama 3": llama, "Llama 3, tied": lambda: llama(tied=True)}


def made(name):
    keras.utils.set_random_seed(0)
    return MODELS[name]()


def data():
    """Inputs, the next words, and weights that leave padding out."""
    rng = np.random.default_rng(0)
    words = rng.integers(1, WORDS, (ROWS, LENGTH + 1))
    kept = np.arange(LENGTH) < rng.integers(2, LENGTH, (ROWS, 1))
    return {"token_ids": words[:, :-1] * kept, "padding_mask": kept.astype("int32")}, words[:, 1:] * kept, kept.astype("float32")


@pytest.mark.filterwarnings("ignore:`compile.. was not called as part of model loading")
@pytest.mark.parametrize("name", MODELS)
def test_trains_as_with_logits(name, tmp_path):
    x, y, weights = data()
    options = {"sample_weight": weights, "batch_size": 4, "epochs": 2, "shuffle": False, "verbose": 0}
    usual, shared = made(name), made(name)
    usual.compile(keras.optimizers.Adam(0.01), keras_xent.SparseCategoricalCrossentropy(True), weighted_metrics=["accuracy"])
    features_model, head = split_head(shared)
    features_model.compile(
        keras.optimizers.Adam(0.01),
        keras_xent.LinearSparseCategoricalCrossentropy(head),
        weighted_metrics=[LinearSparseCategoricalAccuracy(head)],
    )
    expected, actual = usual.fit(x, y, **options).history, features_model.fit(x, y, **options).history
    assert actual["loss"][1] < actual["loss"][0]
    np.testing.assert_allclose(actual["loss"], expected["loss"], rtol=1e-5)
    np.testing.assert_allclose(actual["accuracy"], expected["accuracy"], rtol=1e-6)
    for one, other in zip(usual.get_weights(), shared.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)
    np.testing.assert_allclose(shared.predict(x, verbose=0), usual.predict(x, verbose=0), atol=1e-4)
    features_model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.evaluate(x, y, sample_weight=weights, verbose=0) == pytest.approx(
        features_model.evaluate(x, y, sample_weight=weights, verbose=0), rel=1e-6
    )
