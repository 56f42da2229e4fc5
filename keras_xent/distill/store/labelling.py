"""The labelling step: a batch goes in, what its teacher said comes out, cut down to the k most probable classes.

It runs where the teacher runs, so that k numbers leave an accelerator and not all classes.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from . import arguments

TOLERANCE = 0.02  # by which probabilities may miss 1: a softmax in bfloat16 does by 0.01
FINE, NOT_A_NUMBER, NEGATIVE, NOT_ONE, NOTHING = range(5)


def label_outputs(outputs, k, temperature, targets):
    """The k most probable classes of each row at a temperature, what is left to the others, and what is wrong with it.

    log p_i = (z_i - m) / T - log1p(r), r the sum over all classes but the largest: nothing cancels where p is near 1.
    log_rest = log Σ_j exp((z_j - m) / T) - log1p(r) over the classes that are not among the k
    """
    leading, num_classes = ops.shape(outputs)[:-1], outputs.shape[-1]
    wide = "float64" if keras.backend.standardize_dtype(outputs.dtype) == "float64" else "float32"
    outputs = ops.reshape(ops.cast(outputs, wide), (-1, num_classes))
    # p^(1/T), renormalised, is softmax(log p / T)
    logits = ops.log(ops.maximum(outputs, 0.0)) if targets == "probs" else outputs
    ids = ops.top_k(logits, k)[1]
    chosen = ops.take_along_axis(logits, ids, axis=-1)  # where its values are used, XLA sorts on a CPU: 70 times slower
    largest = ops.where(ops.isfinite(chosen[:, :1]), chosen[:, :1], 0.0)  # such rows are refused
    rest = ops.sum(ops.exp((without(logits, ids) - largest) / temperature), axis=-1)
    depths = (chosen - largest) / temperature
    others = rest + ops.sum(ops.exp(depths[:, 1:]), axis=-1)
    problem, total = find_problem(outputs, targets, chosen[:, 0], others)
    labelled = {
        "ids": ops.reshape(ops.cast(ids, "int32"), (*leading, k)),
        "log_probs": ops.reshape(depths - ops.log1p(others)[:, None], (*leading, k)),
    }
    single = {"log_rest": ops.log(rest) - ops.log1p(others), "problem": problem, "total": total}
    return {**labelled, **{name: ops.reshape(values, leading) for name, values in single.items()}}


def without(logits, ids):
    """The logits with -inf at the classes named."""
    ids = ops.cast(ids, "int32")
    rows = ops.broadcast_to(ops.arange(ops.shape(ids)[0], dtype="int32")[:, None], ops.shape(ids))
    places = ops.reshape(ops.stack([rows, ids], axis=-1), (-1, 2))
    return ops.scatter_update(logits, places, ops.full_like(ops.cast(places[:, 0], logits.dtype), -float("inf")))


def find_problem(outputs, targets, largest, others):
    """What is wrong with each row, as a number, and the sum of its probabilities.

    NaN and infinity show in the sums that are needed anyway: to look for them would be a pass over all classes.
    """
    if targets == "logits":
        problem, total = ops.where(largest == -float("inf"), NOTHING, FINE), ops.zeros_like(largest)
    else:
        # e^10 is too much already, and infinity would tell the reader less
        probs = outputs if targets == "probs" else ops.exp(ops.minimum(outputs, 10.0))
        total = ops.sum(probs, axis=-1)
        problem = ops.where(ops.abs(total - 1.0) > TOLERANCE, NOT_ONE, FINE)
        problem = ops.where(ops.min(probs, axis=-1) < 0.0, NEGATIVE, problem)
        others = others + total
    unusable = ops.logical_not(ops.logical_and(ops.isfinite(others), largest < float("inf")))
    return ops.cast(ops.where(unusable, NOT_A_NUMBER, problem), "int32"), total


def refuse_problems(labelled, targets, index):
    """Raises for the first row in which something is wrong; `index` holds the number of each example."""
    problem = np.asarray(labelled.pop("problem"))
    total = np.asarray(labelled.pop("total"))
    if not problem.any():
        return labelled
    where = tuple(int(i) for i in np.argwhere(problem)[0])
    place = f"example {int(index[where[0]])}" + (f", position {', '.join(map(str, where[1:]))}" if where[1:] else "")
    form = {"logits": "finite logits", "probs": "probabilities", "log_probs": "log-probabilities"}[targets]
    passed_logits = f'. For logits pass targets="logits" (received: targets="{targets}")'
    said = {
        NOT_A_NUMBER: "NaN or infinity",
        NEGATIVE: f"a negative number{passed_logits}",
        NOT_ONE: f"numbers whose probabilities sum to {total[where]:.4g}, not to about 1{passed_logits}",
        NOTHING: "-inf for every class, which is no distribution",
    }[int(problem[where])]
    raise ValueError(f"The teacher must give {form}. Received, for {place}: {said}. Nothing of this example was kept.")


class _Labels(keras.Model):
    """A Keras teacher and the cut to k classes in one compiled step."""

    def __init__(self, teacher, finish):
        super().__init__(name="labels")
        self.teacher, self.finish, self.error = teacher, finish, None
        self.autocast = False  # the teacher knows what dtype it takes

    def call(self, x):
        outputs = self.teacher(x, training=False)
        try:
            return self.finish(outputs)
        except ValueError as error:
            self.error = error
            raise

    def label(self, x):
        """What was said of a batch; an error of ours without what Keras wraps around errors."""
        self.error = None
        try:
            return self.predict_on_batch(x)
        except Exception:  # each backend wraps the error in a type of its own
            if self.error is None:
                raise
            raise self.error from None


class Labeller:
    """A batch goes in, what its teacher said comes out: a plain callable for `map_batches` and the like.

    Args:
        teacher: A `keras.Model`, or a function from a batch of inputs to a (batch, ..., num_classes) array or tensor.
        build_teacher: Instead: a function without arguments that returns it, called here, where the labelling happens.
        k: How many classes to keep.
        temperature: T > 0, at which their log-probabilities are taken.
        targets: `"logits"`, `"probs"` or `"log_probs"`: what the teacher gives.
        num_classes: How many of the teacher's outputs are classes, from the first on; None is all.
        input_key: The key of the inputs in a batch; of several keys the teacher is given a dictionary.
        index_key: The key of the number of each example in the data, from 0.

    Returns:
        When called with a dictionary of arrays: a dictionary of NumPy arrays with `index_key`; `ids` (int32) and `log_probs`
        (float32), of shape (batch, ..., k), the most probable first; `log_rest` (float32), the logarithm of what is left
        to the other classes; and, for each example, the `temperature`.

    Raises:
        ValueError: A wrong argument, k > num_classes, NaN, numbers that are no probabilities, naming the example.

    Differs from Keras:
        Keras has nothing of the kind.

    Example:
        >>> label = keras_xent.distill.Labeller(lambda x: 2.0 * x, k=2, temperature=1.0, targets="logits")
        >>> label({"index": np.array([0]), "x": np.array([[0.0, 2.0, 1.0]])})["ids"]
        array([[1, 2]], dtype=int32)

    Source:
        `ray.data.Dataset.map_batches`, which takes such a class.
    """

    def __init__(
        self,
        teacher: Any = None,
        *,
        build_teacher: Any = None,
        k: int,
        temperature: float,
        targets: str,
        num_classes: int | None = None,
        input_key: str | Sequence[str] = "x",
        index_key: str = "index",
    ) -> None:
        if (teacher is None) == (build_teacher is None):
            raise ValueError("Pass one of `teacher` and `build_teacher`. Received: " + ("both." if teacher else "neither."))
        self._settings = arguments.settings(k, temperature, targets, "float16")
        self.num_classes = None if num_classes is None else arguments.whole("num_classes", num_classes, 2)
        self.input_key, self.index_key = input_key, index_key
        teacher = build_teacher() if teacher is None else teacher
        if not callable(teacher):
            raise ValueError(
                "The teacher must be a keras.Model or a function from a batch of inputs to its outputs. Received: "
                f"{teacher!r} of type {type(teacher).__name__}."
            )
        refuse_training_mode(teacher)
        self._teacher = _Labels(teacher, self._finish) if isinstance(teacher, keras.Model) else teacher

    def __call__(self, batch: dict[str, Any]) -> dict[str, np.ndarray]:
        """What the teacher said of a batch."""
        keys = self.input_key
        arguments.keys_of("A batch to label", batch, [self.index_key, *([keys] if isinstance(keys, str) else keys)])
        index = np.asarray(batch[self.index_key])
        inputs = batch[keys] if isinstance(keys, str) else {key: batch[key] for key in keys}
        labelled = refuse_problems(self._run(inputs), self._settings["targets"], index)
        if len(labelled["ids"]) != len(index):
            raise ValueError(
                f"The teacher must give one row per example: expected {len(index)}, received {len(labelled['ids'])}."
            )
        return {self.index_key: index, **labelled, "temperature": np.full(len(index), self._settings["temperature"])}

    def _run(self, inputs):
        if isinstance(self._teacher, _Labels):
            inputs = keras.tree.map_structure(to_numpy, inputs)  # not each backend takes tensors of the others
            return {name: to_numpy(part) for name, part in self._teacher.label(inputs).items()}
        with without_gradients():
            outputs = self._teacher(inputs)
            if not ops.is_tensor(outputs) and hasattr(outputs, "shape"):
                outputs = to_numpy(outputs)
                outputs = ops.convert_to_tensor(outputs.astype("float32") if "float16" in str(outputs.dtype) else outputs)
            return {name: to_numpy(part) for name, part in self._finish(outputs).items()}

    def _finish(self, outputs):
        shape = getattr(outputs, "shape", None)
        if shape is None or len(shape) < 2 or shape[-1] is None:
            raise ValueError(
                "The teacher must give one (batch, ..., num_classes) tensor, the last axis of static size. "
                f"Received: {'shape ' + str(tuple(shape)) if shape is not None else type(outputs).__name__}."
            )
        settings = self._settings
        self.num_classes = arguments.number_of_classes(self.num_classes, int(shape[-1]), settings["k"])
        outputs = outputs[..., : self.num_classes]
        return label_outputs(outputs, settings["k"], settings["temperature"], settings["targets"])


def refuse_training_mode(teacher):
    """A torch module that still drops out would say something else each time."""
    if getattr(teacher, "training", False) is True and not isinstance(teacher, keras.Layer):
        raise ValueError("The teacher is in training mode (`teacher.training` is True): call `teacher.eval()` first.")


def without_gradients():
    """Keeps torch from remembering how the teacher got there."""
    import contextlib
    import sys

    torch = sys.modules.get("torch")
    return contextlib.nullcontext() if torch is None else torch.no_grad()


def to_numpy(values):
    """An array out of a tensor of any library, on any device."""
    if hasattr(values, "detach"):  # torch, which may be another backend than Keras's
        values = values.detach().cpu()
        return (values.float() if "bfloat16" in str(values.dtype) else values).numpy()  # NumPy has no bfloat16
    return np.asarray(ops.convert_to_numpy(values) if ops.is_tensor(values) else values)
