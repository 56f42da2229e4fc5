"""The first examples of a trace as distributions, for pictures: predictions, targets, what each class adds to the loss."""

import numpy as np

from .. import reference
from ..parity.cases import KINDS, function_name, of_this_process
from ..reference import _arithmetic as a
from ..reference.categorical import one_hot
from .definition import case_of

EXAMPLES = 3  # so many rows
DENSE = {
    "CategoricalCrossentropy": reference.categorical_crossentropy,
    "SparseCategoricalCrossentropy": reference.categorical_crossentropy,
    "CategoricalFocalCrossentropy": reference.categorical_focal_crossentropy,
    "SparseCategoricalFocalCrossentropy": reference.categorical_focal_crossentropy,
}
NOT_OF_A_ROW = {"axis", "ignore_class", "invalid_labels"}


class Examples:
    """The first rows, classes (or outputs) last; all arrays of the shape (rows, classes)."""

    def __init__(self, trace):
        self.loss = trace.subject
        case = case_of(self.loss, trace.inputs.first(EXAMPLES, self.loss).with_tensor(self.loss))
        self.name, self.kind, self.dtype = case.loss, KINDS[case.loss], case.dtype
        self.arguments = {name: value for name, value in case.arguments.items() if name not in NOT_OF_A_ROW}
        self.from_logits = self.loss.from_logits
        axis = case.axis if isinstance(case.axis, int) else -1
        self.given = rows_of(case.y_pred, axis)
        targets = case.y_true
        if self.kind == "ids":
            targets, _ = one_hot(case.y_true, case.y_pred, case.arguments.get("ignore_class"), "ignore", axis)
        if self.loss._options.get("targets") == "top_k":
            self.targets = np.stack(
                [listed(pairs, self.given.shape[-1]) for pairs in case.y_true.reshape(-1, *case.y_true.shape[-2:])]
            )
            self.targets = self.targets[:EXAMPLES]
        else:
            self.targets = rows_of(targets, axis)
        if self.kind == "teacher":
            self.teacher_logits, self.student_logits = self.as_logits()
            self.targets, self.predictions = self.tempered(1.0)
        elif self.kind == "answers":
            self.predictions = 1.0 / (1.0 + np.exp(-self.given)) if self.from_logits else self.given
        else:
            self.predictions = np.exp(a.log_softmax(self.given, -1)) if self.from_logits else self.given

    @property
    def number(self):
        """How many there are."""
        return len(self.given)

    def reference(self, function, y_true, y_pred, **more):
        """A definition, with the arguments of the loss."""
        given = self.arguments | more
        return function(y_true, y_pred, **given, **of_this_process(function, given), dtype=self.dtype)

    def as_logits(self):
        """Those of teacher and student, of the classes that the teacher has."""
        options = self.loss._options
        teacher, student = self.targets, self.given
        with np.errstate(divide="ignore"):
            teacher = np.log(teacher) if options["targets"] == "probs" else teacher
            student = student if self.from_logits else np.log(np.maximum(student, 1e-7))
        if options["targets"] == "top_k":  # which is at the temperature already
            teacher = options["temperature"] * teacher
        return [logits[:, : options["teacher_classes"]] for logits in (teacher, student)]

    def tempered(self, temperature):
        """The distributions of teacher and student at a temperature."""
        return [np.exp(a.log_softmax(logits / temperature, -1)) for logits in (self.teacher_logits, self.student_logits)]

    def shares(self, classes):
        """What some classes or outputs of each row add to its loss, and the loss."""
        if self.name not in DENSE:
            every = self.every_share()
            return [share[shown] for share, shown in zip(every, classes, strict=True)], every.sum(-1)
        # the loss of targets that have nothing for the other classes; of all classes it would take their number squared
        targets = a.smooth(self.targets, self.arguments.get("label_smoothing", 0.0), -1)
        shares = [
            self.dense_losses(np.where(np.arange(len(t)) == shown[:, None], t, 0.0), np.tile(p, (len(shown), 1)))
            for t, p, shown in zip(targets, self.given, classes, strict=True)
        ]
        return shares, self.dense_losses(targets, self.given)

    def dense_losses(self, targets, y_pred):
        """By the definition, of targets that are smoothed already."""
        smoothing = {"label_smoothing": 0.0} if "label_smoothing" in self.arguments else {}
        return self.reference(DENSE[self.name], targets, y_pred, **smoothing)

    def every_share(self):
        """What each class or output adds to the loss of its row."""
        if self.kind == "teacher":
            return self.shares_of_divergence()
        if self.kind == "answers":
            function = getattr(reference, function_name(self.name))
            return self.reference(function, self.targets, self.given, axis=()) / self.given.shape[-1]
        if self.kind == "distribution":
            with np.errstate(divide="ignore", invalid="ignore"):
                return np.where(self.targets > 0, self.targets * (np.log(self.targets) - np.log(self.predictions)), 0.0)
        labels = self.targets.argmax(axis=-1)
        losses = self.reference(reference.categorical_generalized_cross_entropy, labels, self.given)
        return self.targets * losses[:, None]

    def shares_of_divergence(self):
        """Of distillation at its temperature: each class's term, at least 0 but for the cross-entropy."""
        options = self.loss._options
        p, q = self.tempered(options["temperature"])
        squared = options["temperature"] ** 2 if options["scale_by_temperature_squared"] else 1.0
        scale = (1.0 - options["label_weight"]) * squared
        mixture = options["beta"] * p + (1.0 - options["beta"]) * q
        return (
            scale
            * {
                "kl": lambda: term(p, q),
                "reverse_kl": lambda: term(q, p),
                "jsd": lambda: options["beta"] * term(p, mixture) + (1.0 - options["beta"]) * term(q, mixture),
                "crossentropy": lambda: -a.product(p, np.log(np.maximum(q, 1e-300))),
            }[options["divergence"]]()
        )

    def loss_by_probability(self, probs):
        """What an example of two classes, or one output, costs whose true class has these probabilities."""
        alike = {"class_weight": None, "alpha": np.mean(self.arguments.get("alpha", 0.25)), "pos_weight": None}
        alike = {name: value for name, value in alike.items() if name in self.arguments}
        function, others = getattr(reference, function_name(self.name)), 1.0 - probs
        if self.kind == "answers":
            y_pred = np.log(probs) - np.log1p(-probs) if self.from_logits else probs
            return self.reference(function, np.ones_like(probs), y_pred, axis=(), **alike)
        both = np.stack([probs, others], -1)
        y_true = np.zeros(len(probs), "int64") if self.kind == "ids" else np.tile([1.0, 0.0], (len(probs), 1))
        return self.reference(function, y_true, np.log(both) if self.from_logits else both, **alike)


def rows_of(values, axis):
    """The first rows, classes last."""
    values = np.moveaxis(np.atleast_1d(values), axis, -1)
    return values.reshape(-1, values.shape[-1])[:EXAMPLES]


def listed(pairs, num_classes):
    """A top-k as log-probabilities of all classes: -inf for what is not listed."""
    row = np.full(num_classes, -np.inf)
    ids, log_probs = pairs[:, 0], pairs[:, 1]
    row[ids[log_probs > -np.inf].astype(int)] = log_probs[log_probs > -np.inf]
    return row


def term(p, q):
    """q - p + p log(p / q) >= 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return q - p + np.where(p > 0, p * (np.log(np.where(p > 0, p, 1.0)) - np.log(q)), 0.0)
