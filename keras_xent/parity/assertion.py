"""`assert_parity`: one loss against another, or against the definition, in one line of a test."""

from collections.abc import Collection, Mapping
from typing import Any

from .choose import CASES
from .comparison import prepared
from .corpus import GROUPS
from .disagreement import said, snippet
from .implementations import UsageError
from .named import described, importable


class ParityError(AssertionError):
    """Two losses that are not the same; its text has the input, both values and gradients, the errors and their bounds.

    Example:
        >>> try:
        ...     keras_xent.parity.assert_parity(lambda y_true, y_pred: 0 * y_pred[..., 0], corpus="KLDivergence", cases=4)
        ... except keras_xent.parity.ParityError as error:
        ...     isinstance(error, AssertionError), "value" in str(error)
        (True, True)

    Source:
        `keras_xent.parity.assert_parity`, which raises it, as `keras-xent parity` reports it.
    """


def assert_parity(
    loss: Any,
    reference: Any = "definition",
    *,
    corpus: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    y_true: Any = None,
    y_pred: Any = None,
    sample_weight: Any = None,
    reduction: str | None = None,
    dtype: str | None = None,
    cases: int | None = CASES,
    seed: int = 0,
    groups: Collection[str] = tuple(GROUPS),
    mode: str | None = None,
    strict: bool = False,
) -> int:
    """Asserts that a loss equals a reference, in value and gradient, on the active backend.

    |loss - reference| <= (80 + √n) ε · max(|reference|, floor), n being the number of predictions: element by element, for the
    values (in nats) and for their gradient by `y_pred`. Twice as much where both are rounded, and `floor` is then as large
    as the logits (1 for a gradient), which textbooks subtract from their log-sum-exp. What is not finite has to agree.

    Args:
        loss: A loss class, a loss object, a function of `(y_true, y_pred)`, or the name of one: `"module:Name"`, or a class of
            this package. A class is made anew for each case, with those of the case's arguments that it takes.
        reference: The same; or `"definition"` (`keras_xent.reference`, in float64), `"Keras"` (the built-in loss), or a library
            that is installed: `"tf_keras"` on TensorFlow, `"torch.nn.functional"` on PyTorch, `"optax"` on JAX. A function in
            NumPy whose module also has its `<name>_gradient` is a definition.
        corpus: The loss of this package that takes the same inputs; None: found out from the class or the name.
        arguments: Arguments that are to hold in all cases, such as `{"from_logits": True}`. Each side is given those that it
            takes. Other arguments take turns, if both sides take them. For a loss whose gradient stops where it clips
            probabilities, as in textbooks and Keras: `{"saturated_gradient": "zero"}`.
        y_true: Targets (a pair with the hard labels, where the loss has an argument `labels`), and ...
        y_pred: ... predictions of one case: the only one that is compared then.
        sample_weight: Weights for that case.
        reduction: The reduction for that case; None: that of the loss object, or none.
        dtype: The dtype of that case: `"float32"` (which None is), `"float64"`, `"float16"` or `"bfloat16"`.
        cases: How many cases of the corpus, of 113 to 146; None: all.
        seed: From which the corpus is drawn.
        groups: Which parts of the corpus: `"ordinary"`, `"dtypes"`, `"extreme"`, `"degenerate"`, `"weights"`.
        mode: `"eager"`, `"compiled"` (`tf.function`, `jax.jit`, `torch.compile`) or, on TensorFlow, `"xla"`. None: each case in
            the usual one (compiled on JAX, else eager), one case in 20 in all.
        strict: Against the definition: whether the loss is to be as exact as this package's, which lose no digit of confident
            predictions and compute half precision in float32.

    Returns:
        The number of comparisons that were made.

    Raises:
        ParityError: An `AssertionError`, for the first case that disagrees, made as small as it can be. Its text has the input,
            both values, both gradients, errors and bounds, and a snippet that shows it again.
        ValueError: Something that cannot be compared: a name that is not found, inputs that cannot be told, no case that fits.

    Differs from Keras:
        Keras has nothing like it.

    Example:
        >>> keras_xent.parity.assert_parity(keras.losses.KLDivergence, groups=["ordinary"], cases=4)
        4
        >>> wrong = lambda y_true, y_pred: 1.0001 * keras.losses.kl_divergence(y_true, y_pred)
        >>> keras_xent.parity.assert_parity(wrong, corpus="KLDivergence")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        keras_xent.parity.assertion.ParityError: ...

    Source:
        The definitions: `keras_xent.reference`; the bound: `keras_xent.parity.bounds`.
    """
    one_case = {"y_true": y_true, "sample_weight": sample_weight, "reduction": reduction, "dtype": dtype}
    if y_pred is None:
        beside = [f"`{name}`" for name, value in one_case.items() if value is not None]
        if beside:
            raise UsageError(f"{' and '.join(beside)} belong to the one case whose predictions are `y_pred`, which is missing.")
        one_case = None
    else:
        if y_true is None:
            raise UsageError("`y_pred` is given without `y_true`: expected the predictions and the targets of one case.")
        one_case |= {"y_pred": y_pred, "dtype": dtype or "float32"}
    comparison = prepared(
        loss,
        reference,
        corpus=corpus,
        arguments=arguments,
        one_case=one_case,
        cases=cases,
        seed=seed,
        groups=groups,
        mode=mode,
        strict=strict,
    )
    number = 0
    for finding in comparison.findings():
        number += 1
        if not finding.ok:
            finding = finding if one_case else comparison.smallest(finding)
            raise ParityError(f"{said(finding)}\n\n{snippet(finding, code_of(loss), code_of(reference), strict)}")
    if not number:
        raise UsageError(comparison.why_nothing())
    return number


def code_of(thing):
    """How a snippet names it."""
    name = importable(thing)
    return repr(name) if name else f"...,  # {described(thing)}"
