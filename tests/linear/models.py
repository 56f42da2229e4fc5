"""Small models with logits, of each kind that can be cut before its output layer."""

import keras
import numpy as np
from keras import layers

CLASSES, HIDDEN, LENGTH = 37, 8, 6
KINDS = ("bias", "plain", "sequential") + (("tied", "untied") if hasattr(layers, "ReversibleEmbedding") else ())


def make(kind, seed=0):
    """A model from class ids (batch, LENGTH), 0 of which is masked, to logits."""
    keras.utils.set_random_seed(seed)
    if kind == "sequential":
        embedding = layers.Embedding(CLASSES, HIDDEN, mask_zero=True)
        return keras.Sequential([keras.Input((LENGTH,)), embedding, layers.Dense(HIDDEN, "relu"), layers.Dense(CLASSES)])
    inputs = keras.Input((LENGTH,), dtype="int32")
    if kind in ("tied", "untied"):
        masks = "compute_mask" in vars(layers.ReversibleEmbedding)  # Keras 3.12 would make one of features, of another shape
        table = layers.ReversibleEmbedding(CLASSES, HIDDEN, mask_zero=masks, tie_weights=kind == "tied", logit_soft_cap=2.0)
        return keras.Model(inputs, table(layers.Dense(HIDDEN, "relu")(table(inputs)), reverse=True))
    hidden = layers.Dense(HIDDEN, "relu")(layers.Embedding(CLASSES, HIDDEN, mask_zero=True)(inputs))
    return keras.Model(inputs, layers.Dense(CLASSES, use_bias=kind == "bias", kernel_regularizer="l2")(hidden))


def data(rows=11):
    """Inputs, labels and weights."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, CLASSES, (2, rows, LENGTH))
    return x, y, np.float32(rng.integers(0, 3, (rows, LENGTH)))
