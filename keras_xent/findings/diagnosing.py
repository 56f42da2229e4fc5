"""`keras_xent.diagnose`."""

from typing import Any

import keras

from .. import _checks
from . import distillation, predictions, targets, weights
from .asking import arrays, first_batch
from .finding import Findings
from .gathering import DISTILLERS, gather, number_of

CHECKS = *targets.CHECKS, *predictions.CHECKS, *weights.CHECKS, *distillation.CHECKS


def diagnose(
    model: keras.Model,
    x: Any,
    y: Any = None,
    loss: Any = None,
    *,
    sample_weight: Any = None,
    max_examples: int = 256,
) -> Findings:
    """What is wrong with how a model, its targets and its loss are put together; `[]` if nothing is.

    It looks at the layers (what the last one ends in) and at numbers (what the model says of `x`, in inference mode), and
    leaves the model as it was: weights, optimizer, metrics, seeds and compiled functions. (What layers added to `model.losses`
    when they were last called is forgotten, as in any call.) Losses that are no cross-entropy or divergence, such as a mean
    squared error, and losses of your own are passed over.

    Args:
        model: A built `keras.Model` of any kind: `Sequential`, functional, subclassed, with one output or several; also
            `keras_xent.distill.Distiller` and `keras.distillation.Distiller`.
        x: Inputs, as `fit` takes them; or a data set of batches that can be read again, whose first batch is taken.
        y: Targets, as `fit` takes them. None with a data set, and for a distiller without labels.
        loss: None for what `compile` was given; or a loss object, function or name of this package or of Keras, or a list or
            dictionary of them for several outputs.
        sample_weight: Weights, as `fit` takes them.
        max_examples: How many examples the model is asked about, the first ones. Targets are all looked at, if they are no more
            than 16 million numbers.

    Returns:
        A list of `keras_xent.Finding`. It prints as text, shows as a table in notebooks, and as one on the terminal by
        `rich.print`. What its codes say:

        - `double-softmax`: softmax outputs go to a loss with `from_logits=True`, which applies softmax again
        - `double-sigmoid`: sigmoid outputs go to a binary loss with `from_logits=True`
        - `logits-as-probs`: outputs that are no probabilities go to a loss with `from_logits=False`
        - `one-column-softmax`: a softmax, or a loss over classes, has one class: nothing is learned
        - `softmax-axis`: the softmax ran over another axis than the loss's class axis
        - `sigmoid-with-categorical`: independent sigmoids go to a loss over classes that exclude each other
        - `softmax-with-binary`: a softmax over three or more classes goes to a binary loss
        - `saturated`: wrong predictions are so sure that their gradient is 0
        - `non-finite-predictions`: the model's outputs hold NaN or infinity
        - `non-finite-data`: targets or sample weights hold NaN or infinity
        - `onehot-with-sparse`: targets with a class axis go to a sparse loss
        - `integers-with-dense`: class ids go to a loss that takes one target per class
        - `shapes-differ`: targets and outputs have shapes that the loss cannot compare
        - `label-out-of-range`: a label is no class id; a target of a binary loss lies outside of 0 to 1
        - `float-labels`: class ids are not whole numbers
        - `half-precision-labels`: class ids go through a dtype that cannot hold them: in bfloat16, 257 is 256
        - `targets-not-normalized`: targets of a loss over classes do not sum to 1
        - `zero-rows`: rows of targets or probabilities are all zero
        - `weights-broadcast`: sample weights do not line up with the losses
        - `weights-ignored`: sample weights are passed to what ignores them
        - `mask-not-applied`: padding is masked in the model, but counts in the loss
        - `metric-unweighted`: a metric of the loss's name shows another number, because of the weights
        - `raw-logits-distilled`: a teacher's logits go where probabilities are meant
        - `teacher-probs-as-logits`: a teacher's probabilities go where logits are meant
        - `temperature-not-squared`: a temperature shrinks the teacher's gradients, and no T² makes up for it
        - `teacher-student-swapped`: the student knows the labels, and the teacher only guesses

    Raises:
        ValueError: A model without weights, a loss or targets; numbers of examples that differ; targets, losses or weights that
            belong to no output; an iterator, out of which a batch would be lost.
        TypeError: A `model` that is none; targets or weights that are no numbers.

    Differs from Keras:
        Keras has nothing of the kind: most of these mistakes train without a word.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
        >>> model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> x, y = np.random.default_rng(0).normal(size=(8, 4)), np.arange(8) % 3
        >>> [finding.code for finding in keras_xent.diagnose(model, x, y)]
        ['double-softmax']
        >>> keras_xent.diagnose(model, x, y, loss="sparse_categorical_crossentropy")
        []

    Source:
        The mistakes are those that README.md's table of differences, and questions about Keras's losses, are full of.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a keras.Model. Received: {model!r} of type {type(model).__name__}.")
    max_examples = _checks.count("max_examples", max_examples)
    given, (x, y, sample_weight) = x, first_batch(x, y, sample_weight)
    for part in (model.student, model.teacher) if isinstance(model, DISTILLERS) else (model,):
        if not part.built:
            raise ValueError(
                f"The model {part.name!r} has no weights yet, and to make some would change it. Call it on an example first, as "
                "in `model(x[:1])`, or begin a Sequential with `keras.Input`."
            )
    examples = {
        name: number_of(part) for name, part in (("x", arrays(x)), ("y", arrays(y)), ("sample_weight", arrays(sample_weight)))
    }
    known = {name: number for name, number in examples.items() if number is not None}
    if x is given and len(set(known.values())) > 1:  # a data set may do as it likes
        raise ValueError(
            "`x`, `y` and `sample_weight` must hold the same number of examples. Received: "
            + ", ".join(f"{number} in `{name}`" for name, number in known.items())
            + "."
        )
    findings = Findings()
    for situation in gather(model, x, y, loss, sample_weight, max_examples):
        if not situation.usable:
            continue
        for check in targets.CHECKS if situation.packed else CHECKS:
            findings += [finding for finding in check(situation) if finding not in findings]
    return findings
