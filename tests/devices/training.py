"""The same few steps of training on one device and on several: run by `test_devices.py` in a process of its own.

`python -m tests.devices.training` prints, as JSON, for each loss the losses of the epochs and the weights that they lead to, from
one device and from `DEVICES` virtual ones, as the backend spreads work: `keras.distribution` on JAX (with the rows and with the
classes split), `MirroredStrategy` on TensorFlow, `DistributedDataParallel` in processes of its own on PyTorch.
"""

import contextlib
import json
import os
import sys

DEVICES = 2
NUM_CLASSES, FEATURES, BATCH, STEPS = 8, 5, 12, 3
BACKEND = os.environ["KERAS_BACKEND"]
if BACKEND == "jax":
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + f" --xla_force_host_platform_device_count={DEVICES}"
if BACKEND == "tensorflow":
    import tensorflow as tf

    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * DEVICES)

import keras  # noqa: E402
import numpy as np  # noqa: E402

import keras_xent  # noqa: E402


def losses_and_targets():
    """By name: a loss, and the targets of all batches. Each device has as many positions that count as any other."""
    rng = np.random.default_rng(1)
    rows = BATCH * STEPS
    labels = rng.integers(0, NUM_CLASSES, rows)
    ignored = np.where(np.arange(rows) % 3 == 0, -1, labels)
    answers = rng.integers(0, 2, (rows, NUM_CLASSES)).astype("float32")
    soft = rng.dirichlet(np.ones(NUM_CLASSES), rows).astype("float32")
    teacher = rng.normal(size=(rows, NUM_CLASSES)).astype("float32")
    return {
        "class ids": (keras_xent.SparseCategoricalCrossentropy(from_logits=True), labels),
        "some ignored": (keras_xent.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1), ignored),
        "distributions": (keras_xent.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1), soft),
        "focal": (keras_xent.CategoricalFocalCrossentropy(from_logits=True), soft),
        "answers": (keras_xent.BinaryCrossentropy(from_logits=True), answers),
        "focal answers": (keras_xent.BinaryFocalCrossentropy(from_logits=True), answers),
        "divergence": (keras_xent.KLDivergence(from_logits=True), soft),
        "teacher": (keras_xent.DistillationLoss(3.0, targets="logits"), teacher),
        "linear": (keras_xent.LinearSparseCategoricalCrossentropy(label_smoothing=0.1, chunk_size=4), labels),
        "linear, some ignored": (keras_xent.LinearSparseCategoricalCrossentropy(ignore_class=-1), ignored),
    }


def features():
    return np.random.default_rng(0).normal(size=(BATCH * STEPS, FEATURES)).astype("float32")


def new_model(loss):
    """Layers whose weights are the same each time; they make logits, or features where the loss knows the last layer."""
    layers = keras.layers.Dense(FEATURES, name="hidden"), keras.layers.Dense(NUM_CLASSES, name="head")
    model = keras.Sequential([keras.Input((FEATURES,)), *layers])
    rng = np.random.default_rng(2)
    model.set_weights([rng.normal(size=weights.shape).astype("float32") for weights in model.get_weights()])
    if not isinstance(loss, keras_xent.LinearSparseCategoricalCrossentropy):
        return model
    features_model, head = keras_xent.fused.split_head(model)
    loss.bind(head)
    return features_model


def fitted(loss, y_true, scope=contextlib.nullcontext):
    """Two epochs of `fit`."""
    with scope():
        model = new_model(loss)
        model.compile(optimizer=keras.optimizers.SGD(0.5), loss=loss)
    history = model.fit(features(), y_true, batch_size=BATCH, epochs=2, shuffle=False, verbose=0).history["loss"]
    return {"losses": history, "weights": [np.asarray(weights).tolist() for weights in model.get_weights()]}


def is_spread(model):
    """Whether the classes of the last layer really lie on several devices: a layout that matches no path is silently nothing."""
    kernel = next(variable for variable in model.trainable_variables if variable.path.endswith("head/kernel"))
    return kernel.value.sharding.shard_shape(kernel.shape)[1] < NUM_CLASSES


def fitted_everywhere(scopes):
    """By name of a scope, by name of a loss."""
    return {
        where: {name: fitted(loss, y_true, scope) for name, (loss, y_true) in losses_and_targets().items()}
        for where, scope in scopes.items()
    }


def on_jax():
    devices = keras.distribution.list_devices()
    assert len(devices) == DEVICES
    mesh = keras.distribution.DeviceMesh((1, DEVICES), ("batch", "model"), devices)
    layout = keras.distribution.LayoutMap(mesh)
    layout[".*head/kernel"], layout[".*head/bias"] = (None, "model"), ("model",)
    by_classes = keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="batch")
    by_rows = keras.distribution.DataParallel(devices=devices)
    with by_classes.scope():
        assert all(is_spread(new_model(loss)) for loss, _ in losses_and_targets().values())
    return fitted_everywhere({"one": contextlib.nullcontext, "rows": by_rows.scope, "classes": by_classes.scope})


def on_tensorflow():
    strategy = tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(DEVICES)])
    assert strategy.num_replicas_in_sync == DEVICES
    return fitted_everywhere({"one": contextlib.nullcontext, "rows": strategy.scope})


def on_torch(path):
    import torch

    one = {name: stepped(loss, y_true, new_model(loss), 0, 1) for name, (loss, y_true) in losses_and_targets().items()}
    torch.multiprocessing.spawn(torch_process, args=(path,), nprocs=DEVICES)
    with open(path) as file:
        return {"one": one, "rows": json.load(file)}


def torch_process(rank, path):
    """One of the processes; the first writes what all of them came to."""
    import torch

    torch.distributed.init_process_group("gloo", init_method=f"file://{path}.rendezvous", rank=rank, world_size=DEVICES)
    results = {}
    for name, (loss, y_true) in losses_and_targets().items():
        model = new_model(loss)
        results[name] = stepped(loss, y_true, torch.nn.parallel.DistributedDataParallel(model), rank, DEVICES)
    if rank == 0:
        with open(path, "w") as file:
            json.dump(results, file)
    torch.distributed.destroy_process_group()


def stepped(loss, y_true, model, rank, processes):
    """Two epochs of a loop by hand, of which each process takes its rows."""
    import torch

    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    x, y_true = torch.tensor(features()), torch.tensor(y_true)
    history = []
    for _ in range(2):
        sums = torch.zeros(())
        for step in range(STEPS):
            share = BATCH // processes
            rows = slice(step * BATCH + rank * share, step * BATCH + (rank + 1) * share)
            optimizer.zero_grad()
            value = loss(y_true[rows], model(x[rows]))
            value.backward()
            optimizer.step()
            sums += value.detach()
        if processes > 1:
            torch.distributed.all_reduce(sums)
        history.append(float(sums) / STEPS / processes)
    return {"losses": history, "weights": [parameter.detach().tolist() for parameter in model.parameters()]}


if __name__ == "__main__":
    results = on_torch(sys.argv[1]) if BACKEND == "torch" else {"jax": on_jax, "tensorflow": on_tensorflow}[BACKEND]()
    print(json.dumps(results))
