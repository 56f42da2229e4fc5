"""What XLA makes of a loss and its gradient when the classes are spread over devices; run by `test_devices.py`, on JAX.

`python -m tests.devices.sharded` prints, as JSON, for each loss whether its value and gradients are those of one device, and the
largest array that the compiled program gathers from, or moves between, the devices, in elements. Losses from logits are given
spread logits, linear ones a spread kernel; of the model that `split_head` makes, a whole step of training is looked at.
"""

import json
import math
import os
import re

DEVICES = 4
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + f" --xla_force_host_platform_device_count={DEVICES}"

import jax  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402
from jax.sharding import NamedSharding, PartitionSpec  # noqa: E402

import keras_xent  # noqa: E402

ROWS, HIDDEN, NUM_CLASSES, CHUNK = 12, 4, 256, 4
MOVES = r"(?m)^.*? = (.*?) (?:all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)(?:-start)?\("
MESH = jax.sharding.Mesh(np.array(jax.devices()), ("model",))
EVERYWHERE = NamedSharding(MESH, PartitionSpec())
CLASSES_FIRST, CLASSES_LAST = NamedSharding(MESH, PartitionSpec("model")), NamedSharding(MESH, PartitionSpec(None, "model"))
LINEAR = {"chunk_size": CHUNK, "label_smoothing": 0.1, "z_loss": 1e-3, "logit_softcap": 5.0}


def losses_and_targets():
    """By name: a loss, its targets, and whether these have the classes as an axis."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, NUM_CLASSES, ROWS)
    soft = rng.dirichlet(np.ones(NUM_CLASSES), ROWS).astype("float32")
    answers = rng.integers(0, 2, (ROWS, NUM_CLASSES)).astype("float32")
    return {
        "class ids": (keras_xent.SparseCategoricalCrossentropy(from_logits=True), labels),
        "smoothed": (keras_xent.SparseCategoricalCrossentropy(from_logits=True, label_smoothing=0.1), labels),
        "focal class ids": (keras_xent.SparseCategoricalFocalCrossentropy(from_logits=True), labels),
        "distributions": (keras_xent.CategoricalCrossentropy(from_logits=True), soft),
        "focal": (keras_xent.CategoricalFocalCrossentropy(from_logits=True), soft),
        "answers": (keras_xent.BinaryCrossentropy(from_logits=True), answers),
        "teacher": (keras_xent.DistillationLoss(2.0, targets="logits"), np.log(soft)),
    }


def largest_move(text):
    """In elements, of all results of all operations that exchange something."""
    shapes = [shape for results in re.findall(MOVES, text) for shape in re.findall(r"\[([\d,]*)\]", results)]
    return max((math.prod(map(int, filter(None, shape.split(",")))) for shape in shapes), default=0)


def of_logits(loss, y_true):
    """A function, what it is given, and where that lies: the operands that have gradients first."""
    logits = np.random.default_rng(1).normal(size=(ROWS, NUM_CLASSES)).astype("float32")
    return lambda z, y: loss(y, z), (logits,), (CLASSES_LAST,), y_true, CLASSES_LAST if y_true.ndim == 2 else EVERYWHERE


def linear_losses():
    """The same of linear losses: the function, and the class with each kind of head."""
    rng = np.random.default_rng(2)
    draw = lambda *shape: rng.normal(size=shape).astype("float32")  # noqa: E731
    features, kernel, bias = draw(ROWS, HIDDEN), draw(HIDDEN, NUM_CLASSES), draw(NUM_CLASSES)
    labels = rng.integers(0, NUM_CLASSES, ROWS)
    operands, places = (features, kernel, bias), (EVERYWHERE, CLASSES_LAST, CLASSES_FIRST)

    def function(x, w, b, y):
        return keras_xent.linear_sparse_categorical_crossentropy(y, x, w, b, **LINEAR).mean()

    dense = keras.layers.Dense(NUM_CLASSES)
    dense.build((None, HIDDEN))
    yield "linear function", (function, operands, places, labels, EVERYWHERE)
    yield "linear", (of_head(dense), operands, places, labels, EVERYWHERE)
    if hasattr(keras.layers, "ReversibleEmbedding"):
        tied = keras.layers.ReversibleEmbedding(NUM_CLASSES, HIDDEN)
        tied.build()
        yield "linear, tied", (of_head(tied), (features, kernel.T), (EVERYWHERE, CLASSES_FIRST), labels, EVERYWHERE)


def of_head(head):
    """The loss of a head, as a function of the head's weights."""
    loss = keras_xent.LinearSparseCategoricalCrossentropy(head, **LINEAR)

    def function(x, *weights_and_labels):
        *weights, y = weights_and_labels
        with keras.StatelessScope(state_mapping=list(zip(head.trainable_variables, weights, strict=True))):
            return loss(y, x)

    return function


def compared(function, operands, places, y_true, place):
    """Value and gradients on one device and on all; what the latter exchange."""
    both = jax.jit(jax.value_and_grad(function, tuple(range(len(operands)))))
    expected = both(*operands, y_true)
    spread = [jax.device_put(each, at) for each, at in zip((*operands, y_true), (*places, place), strict=True)]
    program = both.lower(*spread).compile()
    pairs = zip(jax.tree.leaves(program(*spread)), jax.tree.leaves(expected), strict=True)
    same = all(np.allclose(one, other, rtol=1e-5, atol=1e-7) for one, other in pairs)
    return {"same": same, "moved": largest_move(program.as_text())}


def step_of_training():
    """The state that a step of `fit` leaves behind, and its program, of a head that is spread as the layout says."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(3)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(HIDDEN), keras.layers.Dense(NUM_CLASSES, name="head")])
    features_model, head = keras_xent.fused.split_head(model)
    accuracy = keras_xent.fused.LinearSparseCategoricalAccuracy(head, chunk_size=CHUNK)
    features_model.compile("adam", keras_xent.LinearSparseCategoricalCrossentropy(head, **LINEAR), metrics=[accuracy])
    x, y = rng.normal(size=(ROWS, 3)).astype("float32"), rng.integers(0, NUM_CLASSES, ROWS)
    features_model.optimizer.build(features_model.trainable_variables)
    features_model.evaluate(x, y, batch_size=ROWS, verbose=0)  # makes the metrics' variables
    parts = (
        features_model.trainable_variables,
        features_model.non_trainable_variables,
        features_model.optimizer.variables,
        features_model.metrics_variables,
    )
    state = tuple([variable.value for variable in variables] for variables in parts)
    program = jax.jit(features_model.train_step).lower(state, (x, y)).compile()
    return head, program(state, (x, y)), program


def trained_spread():
    """One such step on one device and on all."""
    devices = keras.distribution.list_devices()
    mesh = keras.distribution.DeviceMesh((1, DEVICES), ("batch", "model"), devices)
    layout = keras.distribution.LayoutMap(mesh)
    layout[".*head/kernel"], layout[".*head/bias"] = (None, "model"), ("model",)
    _, expected, _ = step_of_training()
    with keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="batch").scope():
        head, actual, program = step_of_training()
    assert head.kernel.value.sharding.shard_shape(head.kernel.shape) == (HIDDEN, NUM_CLASSES // DEVICES)
    pairs = zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True)
    same = all(np.allclose(one, other, rtol=1e-5, atol=1e-6) for one, other in pairs)
    return {"same": same, "moved": largest_move(program.as_text())}


def main():
    cases = {name: of_logits(*loss_and_targets) for name, loss_and_targets in losses_and_targets().items()} | dict(
        linear_losses()
    )
    results = {name: compared(*case) for name, case in cases.items()} | {"linear, a step of training": trained_spread()}
    logits = jax.device_put(np.zeros((ROWS, NUM_CLASSES), "float32"), CLASSES_LAST)
    gathered = jax.jit(lambda z: z + 1.0, out_shardings=EVERYWHERE).lower(logits).compile()
    results["gathered on purpose"] = {"same": True, "moved": largest_move(gathered.as_text())}
    print(json.dumps(results))


if __name__ == "__main__":
    main()
