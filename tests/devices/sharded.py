"""What XLA makes of a loss and its gradient when the classes are spread over devices; run by `test_devices.py`, on JAX.

`python -m tests.devices.sharded` prints, as JSON, for each loss whether its value and gradient are those of one device, and the
largest array that the compiled program gathers from, or moves between, the devices, in elements.
"""

import json
import math
import os
import re

DEVICES = 4
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={DEVICES}"

import jax  # noqa: E402
import numpy as np  # noqa: E402
from jax.sharding import NamedSharding, PartitionSpec  # noqa: E402

import keras_xent  # noqa: E402

ROWS, NUM_CLASSES = 6, 64
MOVES = r"= *(?:\()?\w+\[([\d,]*)\][^=]*? (?:all-gather|all-reduce|all-to-all|collective-permute)(?:-start)?\("


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
    """In elements."""
    return max((math.prod(map(int, filter(None, shape.split(",")))) for shape in re.findall(MOVES, text)), default=0)


def main():
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("model",))
    classes, everywhere = NamedSharding(mesh, PartitionSpec(None, "model")), NamedSharding(mesh, PartitionSpec())
    logits = np.random.default_rng(1).normal(size=(ROWS, NUM_CLASSES)).astype("float32")
    results = {}
    for name, (loss, y_true) in losses_and_targets().items():
        both = jax.jit(jax.value_and_grad(lambda z, y, loss=loss: loss(y, z)))
        expected = both(logits, y_true)
        spread = jax.device_put(logits, classes), jax.device_put(y_true, classes if y_true.ndim == 2 else everywhere)
        program = both.lower(*spread).compile()
        actual = program(*spread)
        same = all(np.allclose(one, other, rtol=1e-5, atol=1e-8) for one, other in zip(actual, expected, strict=True))
        results[name] = {"same": same, "moved": largest_move(program.as_text())}
    gathered = jax.jit(lambda z: z + 1.0, out_shardings=everywhere).lower(jax.device_put(logits, classes)).compile()
    results["gathered on purpose"] = {"same": True, "moved": largest_move(gathered.as_text())}
    print(json.dumps(results))


if __name__ == "__main__":
    main()
