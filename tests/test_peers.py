"""Value and gradient equal those of other libraries: Keras 2 and TensorFlow, optax, PyTorch; each on its own backend.

The peers compute in float64, on inputs that the tested dtype holds exactly, so that the whole error is ours.
"""

import contextlib
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

import keras_xent
from keras_xent.parity.bounds import error_in_bounds

from .backends import BACKEND, DTYPES, array, rounded, tensor, value_and_gradient
from .cases import one_hot, predictions, softmax

CLASSES, IGNORED, TEMPERATURE = 7, 2, 4.0


@dataclass(frozen=True)
class Pair:
    """One of our losses and its peer, as functions of the predictions."""

    name: str
    ours: Callable
    theirs: Callable
    y_pred: np.ndarray


class Draws:
    """Inputs as a dtype holds them."""

    def __init__(self, dtype):
        rng = np.random.default_rng(0)
        self.dtype = dtype
        self.logits = predictions(rng, (6, CLASSES), -1, True, dtype)
        self.wide_logits = rounded(10.0 * self.logits, dtype)
        # None below the smallest normal float16, where our gradient is bounded and that of a plain logarithm is not.
        self.probs = predictions(rng, (6, CLASSES), -1, False, dtype, scale=1.0)
        self.ids = np.array([2, 0, 6, 1, 5, 3])
        self.one_hot = one_hot(self.ids, CLASSES)
        # Eighths, so that targets of every dtype sum to exactly 1, which TensorFlow's gradient takes for granted.
        self.soft = rng.multinomial(8, np.full(CLASSES, 1 / CLASSES), size=6) / 8.0
        self.weights = rng.uniform(0.5, 2.0, CLASSES)
        self.sample_weight = rounded(rng.uniform(0.5, 2.0, 6), dtype)
        self.middle_logits = predictions(rng, (2, CLASSES, 3), 1, True, dtype)
        self.middle_ids = rng.integers(0, CLASSES, size=(2, 3))
        self.yes_no = rng.integers(0, 2, size=(6, CLASSES)).astype("float64")
        self.teacher = predictions(rng, (6, CLASSES), -1, True, dtype)
        self.teacher_probs = rounded(softmax(self.teacher), dtype)  # none of them 0
        self.ruled_out = self.logits.copy()
        self.ruled_out[np.arange(6), (self.ids + 1) % CLASSES] = -np.inf


def distillation_pairs(draws, divergences, label_loss):
    """Pairs for peers that have a divergence: each a function of the tempered logits of the student and the teacher."""
    scale = TEMPERATURE**2
    for targets, teacher in (
        ("logits", draws.teacher),
        ("probs", softmax(draws.teacher)),
        ("log_probs", np.log(softmax(draws.teacher))),
    ):
        for name, (divergence, peer) in divergences.items():
            yield Pair(
                f"{name}, targets {targets}",
                functools.partial(
                    keras_xent.distillation_loss,
                    tensor(teacher, "float32" if draws.dtype != "float64" else "float64"),
                    temperature=TEMPERATURE,
                    targets=targets,
                    divergence=divergence,
                ),
                lambda y_pred, peer=peer: scale * peer(y_pred / TEMPERATURE, draws.teacher / TEMPERATURE),
                draws.logits,
            )
    name, (divergence, peer) = next(iter(divergences.items()))
    yield Pair(
        f"{name}, and hard labels",
        functools.partial(
            keras_xent.distillation_loss,
            keras_xent.pack_targets(draws.teacher, draws.ids),
            temperature=TEMPERATURE,
            targets="logits",
            divergence=divergence,
            labels="sparse",
            label_weight=0.25,
        ),
        lambda y_pred: (
            0.75 * scale * peer(y_pred / TEMPERATURE, rounded(draws.teacher, "float32") / TEMPERATURE) + 0.25 * label_loss(y_pred)
        ),
        draws.logits,
    )


# ------------------------------------------------------------------------------------------------------------ the peers


def tensorflow_pairs(draws):
    """Keras 2, and TensorFlow's own function for positive weights."""
    import tensorflow as tf
    import tf_keras

    losses, dtype = tf_keras.losses, draws.dtype
    for context, y_pred, from_logits in (
        ("logits", draws.logits, True),
        ("wide logits", draws.wide_logits, True),
        ("probabilities", draws.probs, False),
    ):
        for label_smoothing in (0.0, 0.2):
            options = {"from_logits": from_logits, "label_smoothing": label_smoothing}
            for kind, y_true in (("one-hot", draws.one_hot), ("soft", draws.soft)):
                yield Pair(
                    f"tf_keras CategoricalCrossentropy, {kind}, {context}, {label_smoothing=}",
                    functools.partial(keras_xent.categorical_crossentropy, tensor(y_true, dtype), **options),
                    functools.partial(losses.CategoricalCrossentropy(reduction="none", **options), y_true),
                    y_pred,
                )
        for ignore_class in (None, IGNORED):
            options = {"from_logits": from_logits, "ignore_class": ignore_class}
            yield Pair(
                f"tf_keras SparseCategoricalCrossentropy, {context}, {ignore_class=}",
                functools.partial(keras_xent.sparse_categorical_crossentropy, draws.ids, **options),
                functools.partial(losses.SparseCategoricalCrossentropy(reduction="none", **options), draws.ids),
                y_pred,
            )
    for label_smoothing in (0.0, 0.2):
        options = {"from_logits": True, "label_smoothing": label_smoothing}
        yield Pair(
            f"tf_keras BinaryCrossentropy, {label_smoothing=}",
            functools.partial(keras_xent.binary_crossentropy, tensor(draws.yes_no, dtype), **options),
            functools.partial(losses.BinaryCrossentropy(reduction="none", **options), draws.yes_no),
            draws.wide_logits,
        )

    yield Pair(
        "tf_keras binary_crossentropy, from probabilities",
        functools.partial(keras_xent.binary_crossentropy, tensor(draws.yes_no, dtype)),
        with_vanishing_epsilon(functools.partial(losses.binary_crossentropy, draws.yes_no)),
        draws.probs,
    )
    yield Pair(
        "tf_keras CategoricalCrossentropy, class axis in the middle",
        functools.partial(
            keras_xent.categorical_crossentropy,
            tensor(one_hot(draws.middle_ids, CLASSES, 1), dtype),
            from_logits=True,
            axis=1,
        ),
        functools.partial(
            losses.CategoricalCrossentropy(reduction="none", from_logits=True, axis=1),
            one_hot(draws.middle_ids, CLASSES, 1),
        ),
        draws.middle_logits,
    )
    for ours, theirs in (("sum_over_batch_size", "sum_over_batch_size"), ("sum", "sum")):
        loss = keras_xent.CategoricalCrossentropy(from_logits=True, reduction=ours, dtype=dtype)
        peer = losses.CategoricalCrossentropy(from_logits=True, reduction=theirs)
        yield Pair(
            f"tf_keras, weighed and reduced to {theirs}",
            lambda y_pred, loss=loss: loss(tensor(draws.one_hot, dtype), y_pred, tensor(draws.sample_weight, dtype)),
            lambda y_pred, peer=peer: peer(draws.one_hot, y_pred, draws.sample_weight),
            draws.logits,
        )
    pos_weight = draws.weights.tolist()
    yield Pair(
        "tf.nn.weighted_cross_entropy_with_logits",
        functools.partial(
            keras_xent.binary_crossentropy,
            tensor(draws.yes_no, dtype),
            from_logits=True,
            axis=(),
            pos_weight=pos_weight,
        ),
        lambda y_pred: tf.nn.weighted_cross_entropy_with_logits(draws.yes_no, y_pred, np.asarray(pos_weight)),
        draws.wide_logits,
    )

    def kl(student, teacher):
        return losses.KLDivergence(reduction="none")(tf.nn.softmax(teacher), tf.nn.softmax(student))

    def crossentropy(student, teacher):
        return losses.categorical_crossentropy(tf.nn.softmax(teacher), student, from_logits=True)

    divergences = {"tf_keras KLDivergence": ("kl", kl), "tf_keras cross-entropy": ("crossentropy", crossentropy)}
    label_loss = losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")
    yield from distillation_pairs(draws, divergences, lambda y_pred: label_loss(draws.ids, y_pred))
    yield from tensorflow_family_pairs(draws)


def tensorflow_family_pairs(draws):
    """Keras 2's focal losses and its divergence."""
    import tensorflow as tf
    from tf_keras import losses

    dtype, alpha = draws.dtype, draws.weights.tolist()
    for context, y_pred, from_logits in (("logits", draws.logits, True), ("probabilities", draws.probs, False)):
        for focus in ({}, {"alpha": 0.75, "gamma": 0.5, "label_smoothing": 0.2}, {"alpha": alpha, "gamma": 1.0}):
            options = {"from_logits": from_logits, **focus}
            for kind, y_true in (("one-hot", draws.one_hot), ("soft", draws.soft)):
                yield Pair(
                    f"tf_keras categorical_focal_crossentropy, {kind}, {context}, {focus}",
                    functools.partial(keras_xent.categorical_focal_crossentropy, tensor(y_true, dtype), **options),
                    with_vanishing_epsilon(functools.partial(losses.categorical_focal_crossentropy, y_true, **options)),
                    y_pred,
                )
            yield Pair(
                f"tf_keras categorical_focal_crossentropy, class ids, {context}, {focus}",
                functools.partial(keras_xent.sparse_categorical_focal_crossentropy, draws.ids, **options),
                with_vanishing_epsilon(functools.partial(losses.categorical_focal_crossentropy, draws.one_hot, **options)),
                y_pred,
            )
        for focus in ({}, {"apply_class_balancing": True, "gamma": 0.5}, {"gamma": 1.0, "label_smoothing": 0.2}):
            options = {"from_logits": from_logits, **focus}
            for kind, y_true in (("yes or no", draws.yes_no), ("soft", draws.soft)):
                yield Pair(
                    f"tf_keras binary_focal_crossentropy, {kind}, {context}, {focus}",
                    functools.partial(keras_xent.binary_focal_crossentropy, tensor(y_true, dtype), **options),
                    with_vanishing_epsilon(functools.partial(losses.binary_focal_crossentropy, y_true, **options)),
                    y_pred,
                )
    yield Pair(
        "tf_keras binary_focal_crossentropy, wide logits",
        functools.partial(keras_xent.binary_focal_crossentropy, tensor(draws.yes_no, dtype), from_logits=True),
        functools.partial(losses.binary_focal_crossentropy, draws.yes_no, from_logits=True),
        draws.wide_logits,
    )
    for kind, y_true in (("one-hot", draws.one_hot), ("soft", draws.soft), ("positive", draws.teacher_probs)):
        yield Pair(
            f"tf_keras kl_divergence, {kind}, probabilities",
            functools.partial(keras_xent.kl_divergence, tensor(y_true, dtype)),
            functools.partial(losses.kl_divergence, y_true),
            draws.probs,
        )
        yield Pair(
            f"tf_keras kl_divergence, {kind}, logits",
            functools.partial(keras_xent.kl_divergence, tensor(y_true, dtype), from_logits=True),
            with_vanishing_epsilon(lambda y_pred, y_true=y_true: losses.kl_divergence(y_true, tf.nn.softmax(y_pred))),
            draws.logits,
        )


def with_vanishing_epsilon(loss):
    """Keras 2 clips to ε from logits too, and adds ε inside a binary logarithm: without ε it is the loss that we mean."""
    import tf_keras

    def unclipped(y_pred):
        epsilon = tf_keras.backend.epsilon()
        tf_keras.backend.set_epsilon(1e-30)
        try:
            return loss(y_pred)
        finally:
            tf_keras.backend.set_epsilon(epsilon)

    return unclipped


def jax_pairs(draws):
    """Optax."""
    import jax
    import optax

    dtype = draws.dtype
    for context, y_pred in (("logits", draws.logits), ("wide logits", draws.wide_logits)):
        yield Pair(
            f"optax softmax_cross_entropy_with_integer_labels, {context}",
            functools.partial(keras_xent.sparse_categorical_crossentropy, draws.ids, from_logits=True),
            lambda y_pred: optax.softmax_cross_entropy_with_integer_labels(y_pred, draws.ids),
            y_pred,
        )
        for label_smoothing in (0.0, 0.2):
            options = {"from_logits": True, "label_smoothing": label_smoothing}
            for kind, y_true in (("one-hot", draws.one_hot), ("soft", draws.soft)):
                yield Pair(
                    f"optax softmax_cross_entropy, {kind}, {context}, {label_smoothing=}",
                    functools.partial(keras_xent.categorical_crossentropy, tensor(y_true, dtype), **options),
                    lambda y_pred, y_true=y_true, smoothing=label_smoothing: optax.softmax_cross_entropy(
                        y_pred, optax.smooth_labels(y_true, smoothing)
                    ),
                    y_pred,
                )
            yield Pair(
                f"optax softmax_cross_entropy, class ids, {context}, {label_smoothing=}",
                functools.partial(keras_xent.sparse_categorical_crossentropy, draws.ids, **options),
                lambda y_pred, smoothing=label_smoothing: optax.softmax_cross_entropy(
                    y_pred, optax.smooth_labels(draws.one_hot, smoothing)
                ),
                y_pred,
            )
    for axis_options in ({"axis": 1}, {"axis": -2}):
        yield Pair(
            f"optax softmax_cross_entropy_with_integer_labels, {axis_options}",
            functools.partial(keras_xent.sparse_categorical_crossentropy, draws.middle_ids, from_logits=True, **axis_options),
            lambda y_pred, axis_options=axis_options: optax.softmax_cross_entropy_with_integer_labels(
                y_pred, draws.middle_ids, **axis_options
            ),
            draws.middle_logits,
        )
    yield Pair(
        "optax safe_softmax_cross_entropy, classes ruled out",
        functools.partial(keras_xent.categorical_crossentropy, tensor(draws.one_hot, dtype), from_logits=True),
        lambda y_pred: optax.losses.safe_softmax_cross_entropy(y_pred, draws.one_hot),
        draws.ruled_out,
    )
    yield Pair(
        "optax sigmoid_binary_cross_entropy",
        functools.partial(keras_xent.binary_crossentropy, tensor(draws.yes_no, dtype), from_logits=True, axis=()),
        lambda y_pred: optax.sigmoid_binary_cross_entropy(y_pred, draws.yes_no),
        draws.wide_logits,
    )

    def kl(student, teacher):
        return optax.losses.kl_divergence(jax.nn.log_softmax(student), jax.nn.softmax(teacher))

    def kl_with_log_targets(student, teacher):
        return optax.losses.kl_divergence_with_log_targets(jax.nn.log_softmax(student), jax.nn.log_softmax(teacher))

    def crossentropy(student, teacher):
        return optax.softmax_cross_entropy(student, jax.nn.softmax(teacher))

    divergences = {
        "optax kl_divergence": ("kl", kl),
        "optax kl_divergence_with_log_targets": ("kl", kl_with_log_targets),
        "optax softmax_cross_entropy": ("crossentropy", crossentropy),
    }
    yield from distillation_pairs(
        draws, divergences, lambda y_pred: optax.softmax_cross_entropy_with_integer_labels(y_pred, draws.ids)
    )
    yield from jax_family_pairs(draws)


def jax_family_pairs(draws):
    """Optax's sigmoid focal loss and divergence, and what its cross-entropy is turned into by hand."""
    import jax
    import jax.numpy as jnp
    import optax

    dtype = draws.dtype
    for context, y_pred in (("logits", draws.logits), ("wide logits", draws.wide_logits)):
        for focus in ({}, {"gamma": 0.5}, {"alpha": 0.75, "gamma": 1.0}, {"alpha": 0.25, "gamma": 3.5}):
            for kind, y_true in (("yes or no", draws.yes_no), ("soft", draws.soft)):
                yield Pair(
                    f"optax sigmoid_focal_loss, {kind}, {context}, {focus}",
                    functools.partial(
                        keras_xent.binary_focal_crossentropy,
                        tensor(y_true, dtype),
                        apply_class_balancing="alpha" in focus,
                        from_logits=True,
                        axis=(),
                        **focus,
                    ),
                    lambda y_pred, y_true=y_true, focus=focus: optax.sigmoid_focal_loss(y_pred, y_true, **focus),
                    y_pred,
                )

    def crossentropy(y_pred):
        return optax.softmax_cross_entropy_with_integer_labels(y_pred, draws.ids)

    yield from from_crossentropy_pairs("optax", draws, crossentropy, jnp.exp)
    for kind, y_true in (("one-hot", draws.one_hot), ("soft", draws.soft), ("positive", draws.teacher_probs)):
        yield Pair(
            f"optax kl_divergence, {kind}, logits",
            functools.partial(keras_xent.kl_divergence, tensor(y_true, dtype), from_logits=True),
            lambda y_pred, y_true=y_true: optax.losses.kl_divergence(jax.nn.log_softmax(y_pred), y_true),
            draws.wide_logits,
        )
    yield Pair(
        "optax kl_divergence, probabilities",
        functools.partial(keras_xent.kl_divergence, tensor(draws.teacher_probs, dtype)),
        lambda y_pred: optax.losses.kl_divergence(jnp.log(y_pred), draws.teacher_probs),
        draws.probs,
    )


def torch_pairs(draws):
    """PyTorch's functions."""
    import torch
    from torch.nn import functional

    dtype, ids, weights = draws.dtype, torch.as_tensor(draws.ids), torch.as_tensor(draws.weights)
    one_hot_targets, soft, yes_no = (torch.as_tensor(x) for x in (draws.one_hot, draws.soft, draws.yes_no))
    for label_smoothing in (0.0, 0.2):
        for weigh in (False, True):
            for scale, y_pred in (("logits", draws.logits), ("wide logits", draws.wide_logits)):
                context = f"{scale}, {label_smoothing=}, weight={weigh}"
                ours = {"label_smoothing": label_smoothing, "class_weight": draws.weights if weigh else None}
                ours["from_logits"] = True
                theirs = {"label_smoothing": label_smoothing, "weight": weights if weigh else None, "reduction": "none"}
                for ignored in (-100, IGNORED):
                    yield Pair(
                        f"torch cross_entropy, class ids, {context}, ignore_index={ignored}",
                        functools.partial(keras_xent.sparse_categorical_crossentropy, draws.ids, ignore_class=ignored, **ours),
                        lambda y_pred, theirs=theirs, ignored=ignored: functional.cross_entropy(
                            y_pred, ids, ignore_index=ignored, **theirs
                        ),
                        y_pred,
                    )
                for kind, y_true in (("one-hot", one_hot_targets), ("soft", soft)):
                    yield Pair(
                        f"torch cross_entropy, {kind}, {context}",
                        functools.partial(keras_xent.categorical_crossentropy, tensor(y_true, dtype), **ours),
                        lambda y_pred, y_true=y_true, theirs=theirs: functional.cross_entropy(y_pred, y_true, **theirs),
                        y_pred,
                    )
    yield Pair(
        "torch cross_entropy, class axis in the middle",
        functools.partial(keras_xent.sparse_categorical_crossentropy, draws.middle_ids, from_logits=True, axis=1),
        lambda y_pred: functional.cross_entropy(y_pred, torch.as_tensor(draws.middle_ids), reduction="none"),
        draws.middle_logits,
    )
    yield Pair(
        "torch cross_entropy, classes ruled out",
        functools.partial(keras_xent.sparse_categorical_crossentropy, draws.ids, from_logits=True),
        lambda y_pred: functional.cross_entropy(y_pred, ids, reduction="none"),
        draws.ruled_out,
    )
    for reduction in ("mean", "sum"):
        loss = keras_xent.SparseCategoricalCrossentropy(True, IGNORED, reduction, dtype=dtype)
        yield Pair(
            f"torch cross_entropy, reduced to {reduction} without the ignored",
            lambda y_pred, loss=loss: loss(draws.ids, y_pred),
            lambda y_pred, reduction=reduction: functional.cross_entropy(y_pred, ids, ignore_index=IGNORED, reduction=reduction),
            draws.logits,
        )
    yield Pair(
        "torch nll_loss of renormalised probabilities",
        functools.partial(keras_xent.sparse_categorical_crossentropy, draws.ids),
        lambda y_pred: functional.nll_loss(torch.log(y_pred / y_pred.sum(-1, keepdim=True)), ids, reduction="none"),
        draws.probs,
    )
    yield Pair(
        "torch binary_cross_entropy",
        functools.partial(keras_xent.binary_crossentropy, tensor(draws.yes_no, dtype), axis=()),
        lambda y_pred: functional.binary_cross_entropy(y_pred, yes_no, reduction="none"),
        draws.probs,
    )
    for pos_weight in (None, 3.0, draws.weights):
        theirs = None if pos_weight is None else torch.as_tensor(pos_weight, dtype=torch.float64)
        yield Pair(
            f"torch binary_cross_entropy_with_logits, pos_weight of shape {np.shape(pos_weight)}",
            functools.partial(
                keras_xent.binary_crossentropy,
                tensor(draws.yes_no, dtype),
                from_logits=True,
                axis=(),
                pos_weight=pos_weight,
            ),
            lambda y_pred, theirs=theirs: functional.binary_cross_entropy_with_logits(
                y_pred, yes_no, pos_weight=theirs, reduction="none"
            ),
            draws.wide_logits,
        )

    def kl(student, teacher):
        log_teacher = torch.log_softmax(torch.as_tensor(teacher), -1)
        return functional.kl_div(torch.log_softmax(student, -1), log_teacher, reduction="none", log_target=True).sum(-1)

    def crossentropy(student, teacher):
        return functional.cross_entropy(student, torch.softmax(torch.as_tensor(teacher), -1), reduction="none")

    divergences = {"torch kl_div": ("kl", kl), "torch cross_entropy": ("crossentropy", crossentropy)}
    yield from distillation_pairs(draws, divergences, lambda y_pred: functional.cross_entropy(y_pred, ids, reduction="none"))
    mean_kl = keras_xent.DistillationLoss(TEMPERATURE, targets="logits", dtype=dtype)
    yield Pair(
        "torch kl_div, batchmean",
        lambda y_pred: mean_kl(tensor(draws.teacher, dtype), y_pred),
        lambda y_pred: (
            TEMPERATURE**2
            * functional.kl_div(
                torch.log_softmax(y_pred / TEMPERATURE, -1),
                torch.softmax(torch.as_tensor(draws.teacher) / TEMPERATURE, -1),
                reduction="batchmean",
            )
        ),
        draws.logits,
    )
    yield from torch_family_pairs(draws)


def torch_family_pairs(draws):
    """PyTorch's divergence, and what its cross-entropies are turned into by hand."""
    import torch
    from torch.nn import functional

    dtype, ids = draws.dtype, torch.as_tensor(draws.ids)
    one_hot_targets, soft, yes_no, positive = (
        torch.as_tensor(x) for x in (draws.one_hot, draws.soft, draws.yes_no, draws.teacher_probs)
    )
    for kind, y_true in (("one-hot", one_hot_targets), ("soft", soft), ("positive", positive)):
        yield Pair(
            f"torch kl_div, {kind}, logits",
            functools.partial(keras_xent.kl_divergence, tensor(y_true, dtype), from_logits=True),
            lambda y_pred, y_true=y_true: functional.kl_div(torch.log_softmax(y_pred, -1), y_true, reduction="none").sum(-1),
            draws.wide_logits,
        )
    yield Pair(
        "torch kl_div, probabilities",
        functools.partial(keras_xent.kl_divergence, tensor(positive, dtype)),
        lambda y_pred: functional.kl_div(torch.log(y_pred), positive, reduction="none").sum(-1),
        draws.probs,
    )
    crossentropy = functools.partial(functional.cross_entropy, target=ids, reduction="none")
    yield from from_crossentropy_pairs("torch", draws, crossentropy, torch.exp)

    def of_classes(y_pred, y_true, gamma=2.0):
        log_probs = torch.log_softmax(y_pred, -1)
        return -(torch.as_tensor(draws.weights) * (1.0 - log_probs.exp()) ** gamma * y_true * log_probs).sum(-1)

    def of_answers(y_pred, crossentropy, gamma=2.0):
        costs = crossentropy(y_pred, yes_no, reduction="none")
        return (-torch.expm1(-costs)) ** gamma * costs

    for focus in ({}, {"gamma": 0.5}, {"gamma": 1.0}, {"gamma": 3.5}):
        for kind, y_true in (("one-hot", one_hot_targets), ("soft", soft)):
            yield Pair(
                f"torch log_softmax made focal, {kind}, {focus}",
                functools.partial(
                    keras_xent.categorical_focal_crossentropy,
                    tensor(y_true, dtype),
                    alpha=draws.weights.tolist(),
                    from_logits=True,
                    **focus,
                ),
                functools.partial(of_classes, y_true=y_true, **focus),
                draws.logits,
            )

        for peer, y_pred in (
            (functional.binary_cross_entropy_with_logits, draws.wide_logits),
            (functional.binary_cross_entropy, draws.probs),
        ):
            yield Pair(
                f"torch {peer.__name__} made focal, {focus}",
                functools.partial(
                    keras_xent.binary_focal_crossentropy,
                    tensor(draws.yes_no, dtype),
                    from_logits=peer is functional.binary_cross_entropy_with_logits,
                    axis=(),
                    **focus,
                ),
                functools.partial(of_answers, crossentropy=peer, **focus),
                y_pred,
            )


def from_crossentropy_pairs(library, draws, crossentropy, exp):
    """Pairs for a peer that has the cross-entropy -log p of class ids alone."""

    def focal(y_pred, alpha=0.25, gamma=2.0):
        costs = crossentropy(y_pred)
        return alpha * (1.0 - exp(-costs)) ** gamma * costs

    for context, y_pred in (("logits", draws.logits), ("wide logits", draws.wide_logits)):
        for focus in ({}, {"alpha": 0.75, "gamma": 0.5}, {"alpha": 1.0, "gamma": 1.0}, {"gamma": 3.5}):
            options = {"from_logits": True, **focus}
            for kind, ours in (
                ("class ids", functools.partial(keras_xent.sparse_categorical_focal_crossentropy, draws.ids, **options)),
                (
                    "one-hot",
                    functools.partial(keras_xent.categorical_focal_crossentropy, tensor(draws.one_hot, draws.dtype), **options),
                ),
            ):
                yield Pair(
                    f"{library} cross-entropy made focal, {kind}, {context}, {focus}",
                    ours,
                    functools.partial(focal, **focus),
                    y_pred,
                )
    for q in (0.125, 0.5, 0.75):
        yield Pair(
            f"{library} cross-entropy made generalised, {q=}",
            functools.partial(keras_xent.categorical_generalized_cross_entropy, draws.ids, q=q, from_logits=True),
            lambda y_pred, q=q: (1.0 - exp(-q * crossentropy(y_pred))) / q,
            # Not the wide ones: p**q makes that whole gradient small, beside which the peer's p - 1 is rounded too coarsely.
            draws.logits,
        )


# ------------------------------------------------------------------------------------------------------- the comparison


@functools.cache
def pairs(dtype):
    """The pairs of this backend by name, on inputs that `dtype` holds."""
    of_backend = {"tensorflow": tensorflow_pairs, "jax": jax_pairs, "torch": torch_pairs}[BACKEND]
    return {pair.name: pair for pair in of_backend(Draws(dtype))}


def in_float64():
    """JAX has no float64 unless it is told to."""
    if BACKEND != "jax":
        return contextlib.nullcontext()
    import jax

    return jax.enable_x64(True)


def errors(pair, dtype):
    """The errors of our value and gradient, in multiples of what rounding allows: both at most 1."""
    value, gradient = value_and_gradient(pair.ours, tensor(pair.y_pred, dtype))
    with in_float64():
        expected = value_and_gradient(pair.theirs, tensor(pair.y_pred, "float64"))
        expected_value, expected_gradient = (array(part) for part in expected)
    assert expected_value.dtype == expected_gradient.dtype == np.float64
    terms, span = pair.y_pred.size, np.ptp(pair.y_pred[np.isfinite(pair.y_pred)])
    # The peers take logits and their log-sum-exp from each other, and 1 from probabilities: terms of size 1 and more.
    return (
        error_in_bounds(value, expected_value, dtype, terms, span, floor=1.0),
        error_in_bounds(gradient, expected_gradient, dtype, terms, span, floor=np.abs(expected_gradient).max()),
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", pairs("float32"))
def test_equals_its_peer(name, dtype):
    value_error, gradient_error = errors(pairs(dtype)[name], dtype)
    assert value_error <= 1
    assert gradient_error <= 1


@pytest.mark.parametrize("name", pairs("float32"))
def test_the_comparison_can_fail(name):
    """A loss that is too large by one part in ten thousand is found, in its value and in its gradient."""
    pair = pairs("float32")[name]
    value_error, gradient_error = errors(replace(pair, ours=lambda y_pred: 1.0001 * pair.ours(y_pred)), "float32")
    assert value_error > 1
    assert gradient_error > 1


def test_a_temperature_that_is_not_squared_is_found():
    name = next(name for name in pairs("float32") if "kl" in name.lower())
    pair = pairs("float32")[name]
    unscaled = functools.partial(pair.ours, scale_by_temperature_squared=False)
    assert max(errors(replace(pair, ours=lambda y_pred: TEMPERATURE**2 * unscaled(y_pred)), "float32")) <= 1
    assert min(errors(replace(pair, ours=lambda y_pred: TEMPERATURE * unscaled(y_pred)), "float32")) > 1
