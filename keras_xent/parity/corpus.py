"""The corpus: on what losses are compared. The same seed draws the same cases.

A case is one loss with its arguments, targets, predictions and weights, as NumPy arrays that the case's dtype holds exactly.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import reference
from .cases import KINDS, Case, one_hot, softmax
from .running import rounded

GROUPS = {
    "ordinary": "ranks 1 to 5, every axis, every option",
    "dtypes": "half and double precision, and more classes than half precision counts",
    "extreme": "logits of scale 0.01 to 1000 and -inf, probabilities of 0, 1 and 1e-30, and rows that do not add up to 1",
    "degenerate": "rows of zeros, targets of nothing, equal logits, one example, two classes",
    "weights": "every reduction with weights of every shape, and NaN that has no weight",
}
SHAPES = ((3,), (4, 5), (2, 3, 4), (2, 2, 3, 3), (2, 2, 2, 3, 2))
REDUCTIONS = ("none", "sum", "sum_over_batch_size", "mean", "mean_with_sample_weight")


def corpus(loss, seed=0, groups=tuple(GROUPS)) -> Iterator[Case]:
    """The cases of a loss, group by group."""
    draw = {"ordinary": ordinary, "dtypes": dtypes, "extreme": extreme, "degenerate": degenerate, "weights": weights}
    for number, group in enumerate(GROUPS):
        if group in groups:
            yield from draw[group](loss, np.random.default_rng([seed, number, *map(ord, loss)]))


# ---------------------------------------------------------------------------------------------------------- inputs


def predictions(kind, rng, shape, axis, from_logits, dtype="float32", scale=3.0):
    """Logits, or probabilities, as `dtype` holds them."""
    logits = scale * rng.normal(size=shape)
    if from_logits:
        return rounded(logits, dtype)
    return rounded(1 / (1 + np.exp(-logits)) if kind == "answers" else softmax(logits, axis), dtype)


def targets(kind, rng, shape, axis, dtype="float32", soft=False):
    """What fits predictions of that shape."""
    if kind == "teacher":
        return rounded(3.0 * rng.normal(size=shape), dtype)
    if kind == "answers":
        return rounded(rng.uniform(size=shape), dtype) if soft else rng.integers(0, 2, size=shape).astype("float64")
    labels = rng.integers(0, shape[axis], size=np.delete(shape, axis))
    if kind == "ids":
        return labels
    if soft or kind == "distribution":
        # Eighths: targets that add up to 1 in every dtype.
        shares = rng.multinomial(8, np.full(shape[axis], 1 / shape[axis]), size=np.delete(shape, axis)) / 8.0
        return np.moveaxis(shares, -1, axis)
    return one_hot(labels, shape[axis], axis)


def axes_of(kind, shape):
    """The axes that a loss can be over."""
    if kind == "answers":
        return (-1, 0, (), None)
    return tuple(sorted({-1, 0, len(shape) // 2} - ({0} if len(shape) == 1 else set())))


def options_of(loss, rng, num_classes):
    """Arguments that take turns."""
    each = rng.uniform(0.5, 2.0, num_classes).tolist()
    smoothed = [{}, {"label_smoothing": 0.1}, {"label_smoothing": 0.3, "epsilon": 0.05}]
    weighed = [{"class_weight": each, "saturated_gradient": "zero"}, {"class_weight": {0: 3.0}, "label_smoothing": 0.2}]
    focused = [
        {"gamma": 0.0},
        {"gamma": 0.5, "alpha": each},
        {"gamma": 1.0, "alpha": 1.0},
        {"gamma": 2.0},
        {"gamma": 6.0},
        {},
        {"gamma": 5.0},
    ]
    ignored = [{}, {"ignore_class": [0, num_classes - 1]}, {}, {"ignore_class": num_classes - 1}]
    answered = [{}, {"pos_weight": 2.3, "label_smoothing": 0.2}, {"saturated_gradient": "zero", "epsilon": 1e-2}]
    balanced = [{}, {"apply_class_balancing": True, "alpha": 0.3, "gamma": 0.5}, {"gamma": 1.0}, {"gamma": 0.0}, {"gamma": 6.0}]
    return {
        "CategoricalCrossentropy": [*smoothed, *weighed],
        "SparseCategoricalCrossentropy": joined([*smoothed, *weighed], ignored),
        "BinaryCrossentropy": answered,
        "CategoricalFocalCrossentropy": joined([*smoothed, *weighed], focused[1:] + focused[:1]),
        "SparseCategoricalFocalCrossentropy": joined(joined([*smoothed, *weighed], focused[2:] + focused[:2]), ignored),
        "BinaryFocalCrossentropy": joined(answered, balanced),
        "KLDivergence": [{}, {"epsilon": 0.05}, {"saturated_gradient": "zero"}],
        "CategoricalGeneralizedCrossEntropy": joined([{"q": 0.5}, {"q": 0.1}, {"q": 0.9}], ignored),
        "DistillationLoss": taught(),
    }[loss]


def taught():
    """Arguments of a distillation loss."""
    divergences = ({}, {"divergence": "reverse_kl"}, {"divergence": "jsd", "beta": 0.3}, {"divergence": "crossentropy"})
    temperatures = (1.0, 4.0, 0.5)
    return [
        {"targets": ("logits", "probs", "log_probs")[(i + j) % 3], "temperature": temperature, **divergence}
        for i, temperature in enumerate(temperatures)
        for j, divergence in enumerate(divergences)
    ]


def joined(ones, others):
    """Options of two kinds beside each other, each with as many of the other kind as there are."""
    return [{**ones[i % len(ones)], **others[i % len(others)]} for i in range(math.lcm(len(ones), len(others)))]


def teacher_form(logits, form, axis):
    """A teacher's logits as the targets that an argument names."""
    if form == "probs":
        return rounded(softmax(logits, axis), "float32")
    if form == "log_probs":
        return rounded(np.log(softmax(logits, axis)), "float32")
    return logits


def draw(loss, rng, group, shape, axis: Any = -1, from_logits=True, options=None, *, dtype="float32", scale=3.0, soft=False):
    """A case on random inputs."""
    kind, along = KINDS[loss], axis if isinstance(axis, int) else -1
    options = options_of(loss, rng, shape[along])[0] if options is None else options
    y_pred = predictions(kind, rng, shape, axis, from_logits, dtype, scale)
    y_true = teacher_form(targets(kind, rng, shape, along, dtype, soft), options.get("targets"), axis)
    form = f"{'logits' if from_logits else 'probabilities'} of shape {shape}"
    return Case(loss, group, form, y_true, y_pred, {"from_logits": from_logits, "axis": axis, **options}, dtype)


def singular(case, **changes):
    """A case whose inputs are of a kind of their own."""
    return case.with_(**changes, singular=True)


# ---------------------------------------------------------------------------------------------------------- groups


def ordinary(loss, rng):
    """Every rank and axis, from logits and from probabilities; options take turns."""
    turn = 0
    for shape in SHAPES:
        for from_logits in (True, False):
            for axis in axes_of(KINDS[loss], shape):
                every = options_of(loss, rng, shape[axis if isinstance(axis, int) else -1])
                for options in (every[turn % len(every)], every[(turn + 1) % len(every)]):
                    yield draw(loss, rng, "ordinary", shape, axis, from_logits, options, soft=turn % 4 > 1)
                    turn += 1
    if loss == "DistillationLoss":
        yield from stored_and_packed(loss, rng)


def stored_and_packed(loss, rng):
    """Teachers of which the most probable classes are known, and teachers beside hard labels."""
    for from_logits in (True, False):
        for tail, divergence in (("bucket", "kl"), ("renormalize", "jsd"), ("uniform", "kl"), ("bucket", "crossentropy")):
            options = {"targets": "logits", "temperature": 2.0, "divergence": divergence}
            case = draw(loss, rng, "ordinary", (4, 5), from_logits=from_logits, options=options)
            pairs = np.float32(reference.top_k_targets(case.y_true, 3, temperature=2.0)).astype("float64")
            arguments = {**case.arguments, "targets": "top_k", "tail": tail}
            yield case.with_(y_true=pairs, arguments=arguments, what=f"the teacher's 3 best classes of 5, tail {tail}")
        case = draw(loss, rng, "ordinary", (4, 5), from_logits=from_logits, options={"targets": "logits"})
        for labels, kind in (("sparse", "ids"), ("dense", "dense")):
            arguments = {**case.arguments, "labels": labels, "label_weight": 0.25}
            hard = targets(kind, rng, (4, 5), -1)
            yield case.with_(arguments=arguments, hard_labels=hard, what=f"a teacher beside {labels} labels")
        what = f"two classes that the teacher lacks, {'logits' if from_logits else 'probabilities'}"
        yield singular(case, arguments={**case.arguments, "teacher_classes": 3}, what=what)


def dtypes(loss, rng):
    """Other dtypes, and class ids that half precision cannot hold."""
    for dtype in ("float16", "bfloat16", "float64"):
        for from_logits in (True, False):
            for options in options_of(loss, rng, 5)[:3]:
                yield draw(loss, rng, "dtypes", (4, 5), -1, from_logits, options, dtype=dtype)
    for dtype, num_classes in (("bfloat16", 300), ("float16", 2500)):
        case = draw(loss, rng, "dtypes", (2, num_classes), dtype=dtype)
        labels = np.array([num_classes - 1, num_classes - 42])
        if KINDS[loss] == "ids":
            case = case.with_(y_true=labels)
        elif KINDS[loss] in ("dense", "distribution"):
            case = case.with_(y_true=one_hot(labels, num_classes))
        yield singular(case, what=f"{num_classes} classes in {dtype}")


def extreme(loss, rng):
    """Confident and ruled out, right and wrong."""
    kind = KINDS[loss]
    for scale, num_classes in ((0.01, 50), (30.0, 50), (1000.0, 50), (3.0, 5000)):
        case = draw(loss, rng, "extreme", (6, num_classes), scale=scale)
        yield singular(
            case, y_true=half_right(kind, case), what=f"logits of scale {scale:g}, {num_classes} classes, half of them right"
        )
    case = draw(loss, rng, "extreme", (6, 5))
    ruled_out = case.y_pred.copy()
    beside: Any = (half_right("ids", case) + 1) % 5
    ruled_out[np.arange(6), beside] = -np.inf
    yield singular(
        case, y_pred=ruled_out, y_true=half_right(kind, case), what="a logit of -inf in each row, of a class without target"
    )
    if "Focal" in loss:
        case = draw(loss, rng, "extreme", (6, 5), options={"gamma": 6.0})
        yield singular(case, y_true=half_right(kind, case), what="logits, γ = 6")
    case = draw(loss, rng, "extreme", (6, 5), from_logits=False)
    sure = np.full((6, 5), 1e-30)
    sure[np.arange(6), [0, 1, 2, 3, 4, 0]] = 1.0
    yield singular(case, y_pred=rounded(sure, "float32"), what="probabilities of 1 and 1e-30")
    yield singular(case, y_pred=np.where(sure < 1, 0.0, 1.0), what="probabilities of 1 and 0")
    if kind in ("dense", "ids") and "Generalized" not in loss:
        for factor in (1e20, 1e-20):
            yield singular(case, y_pred=rounded(case.y_pred * factor, "float32"), what=f"probabilities times {factor:g}")


def half_right(kind, case):
    """Targets that are the largest prediction in every second row."""
    labels = np.where(np.arange(len(case.y_pred)) % 2, case.y_pred.argmin(-1), case.y_pred.argmax(-1))
    if kind == "ids":
        return labels
    return one_hot(labels, case.y_pred.shape[-1]) if kind in ("dense", "distribution") else case.y_true


def degenerate(loss, rng):
    """Little and nothing."""
    kind = KINDS[loss]
    for shape in ((1, 2), (1, 3), (5, 2), (0, 3)):
        for from_logits in (True, False):
            case = draw(loss, rng, "degenerate", shape, from_logits=from_logits)
            yield case if shape[0] else singular(case, what=f"an empty batch of {'logits' if from_logits else 'probabilities'}")
    case = draw(loss, rng, "degenerate", (4, 3))
    yield singular(case, y_pred=np.zeros((4, 3)), what="equal logits")
    if kind == "dense":
        for from_logits in (True, False):
            case = draw(loss, rng, "degenerate", (4, 3), from_logits=from_logits)
            yield singular(case, y_true=np.zeros((4, 3)), what="targets of nothing")
            yield singular(case, y_true=np.full((4, 3), 0.25), what="targets that add up to 0.75")
    if kind in ("dense", "ids") and "Generalized" not in loss:
        case = draw(loss, rng, "degenerate", (4, 3), from_logits=False)
        yield singular(case, y_pred=np.where(np.arange(4)[:, None] == 1, 0.0, case.y_pred), what="a row of zero probabilities")


def weights(loss, rng):
    """Each reduction with each shape of weights, some of them 0 with what is not a number."""
    shapes = {"none": None, "a number": (), "batch": (3,), "column": (3, 1), "all": (3, 4)}
    for turn, (what, shape) in enumerate(shapes.items()):
        for number, reduction in enumerate(REDUCTIONS):
            case = draw(loss, rng, "weights", (3, 4, 5), from_logits=(turn + number) % 2 == 0)
            weight = None if shape is None else rounded(rng.uniform(0.5, 2.0, shape), "float32")
            yield case.with_(sample_weight=weight, reduction=reduction, what=f"{reduction}, weights: {what}")
    for reduction in REDUCTIONS:
        case = draw(loss, rng, "weights", (3, 4, 5))
        weight = np.array([2.0, 0.0, 1.0])
        y_pred = np.where(weight[:, None, None] == 0, np.nan, case.y_pred)
        yield case.with_(y_pred=y_pred, sample_weight=weight, reduction=reduction, what=f"{reduction}, NaN of weight 0")
