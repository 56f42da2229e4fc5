"""Every code that a finding may have: how bad it is, and what it says. Codes are stable: scripts may read them."""

from typing import NamedTuple


class Code(NamedTuple):
    """What all findings of one code have in common."""

    severity: str
    meaning: str


CODES = {
    "double-softmax": Code("error", "softmax outputs go to a loss with `from_logits=True`, which applies softmax again"),
    "double-sigmoid": Code("error", "sigmoid outputs go to a binary loss with `from_logits=True`"),
    "logits-as-probs": Code("error", "outputs that are no probabilities go to a loss with `from_logits=False`"),
    "one-column-softmax": Code("error", "a softmax, or a loss over classes, has one class: nothing is learned"),
    "softmax-axis": Code("error", "the softmax ran over another axis than the loss's class axis"),
    "sigmoid-with-categorical": Code("warning", "independent sigmoids go to a loss over classes that exclude each other"),
    "softmax-with-binary": Code("warning", "a softmax over three or more classes goes to a binary loss"),
    "saturated": Code("warning", "wrong predictions are so sure that their gradient is 0"),
    "non-finite-predictions": Code("error", "the model's outputs hold NaN or infinity"),
    "non-finite-data": Code("error", "targets or sample weights hold NaN or infinity"),
    "onehot-with-sparse": Code("error", "targets with a class axis go to a sparse loss"),
    "integers-with-dense": Code("error", "class ids go to a loss that takes one target per class"),
    "shapes-differ": Code("error", "targets and outputs have shapes that the loss cannot compare"),
    "label-out-of-range": Code("error", "a label is no class id; a target of a binary loss lies outside of 0 to 1"),
    "float-labels": Code("error", "class ids are not whole numbers"),
    "half-precision-labels": Code("error", "class ids go through a dtype that cannot hold them: in bfloat16, 257 is 256"),
    "targets-not-normalized": Code("warning", "targets of a loss over classes do not sum to 1"),
    "zero-rows": Code("warning", "rows of targets or probabilities are all zero"),
    "weights-broadcast": Code("error", "sample weights do not line up with the losses"),
    "weights-ignored": Code("warning", "sample weights are passed to what ignores them"),
    "mask-not-applied": Code("warning", "padding is masked in the model, but counts in the loss"),
    "metric-unweighted": Code("note", "a metric of the loss's name shows another number, because of the weights"),
    "raw-logits-distilled": Code("error", "a teacher's logits go where probabilities are meant"),
    "teacher-probs-as-logits": Code("error", "a teacher's probabilities go where logits are meant"),
    "temperature-not-squared": Code("warning", "a temperature shrinks the teacher's gradients, and no T² makes up for it"),
    "teacher-student-swapped": Code("warning", "the student knows the labels, and the teacher only guesses"),
}
