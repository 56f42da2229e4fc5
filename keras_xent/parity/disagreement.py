"""A disagreement in words and numbers, and as a snippet that shows it again."""

import numpy as np

from .examine import Finding
from .running import BACKEND, USUAL

LARGE = 200  # so many numbers are written out


def said(finding: Finding) -> str:
    """The input, both values, both gradients, the errors and their bounds."""
    case = finding.case
    lines = [
        ("arguments", shown_arguments(case)),
        ("y_true", shown(case.y_true)),
        ("y_pred", shown(case.y_pred)),
    ]
    if case.hard_labels is not None:
        lines.append(("hard labels", shown(case.hard_labels)))
    if case.sample_weight is not None:
        lines.append(("sample_weight", shown(case.sample_weight)))
    if finding.answers is None:
        lines.append(("error", finding.message))
    else:
        for number, (quantity, error) in enumerate((("value", finding.value), ("gradient", finding.gradient))):
            assert error is not None
            given, expected = (answer[number] for answer in finding.answers)
            lines += [
                (f"{quantity}, given", shown(given)),
                (f"{quantity}, expected", shown(expected)),
                ("", f"{off(error)}; bound: {error.bound:.4g} ε ({'kept' if error.within else 'BROKEN'})"),
            ]
    head = f"{finding.subject} is not {finding.reference} on {BACKEND} ({finding.mode}, {case.dtype}); found on: {case.what}."
    return "\n".join([head, *(f"  {name:20}{text}" for name, text in lines)])


def off(error):
    """An error in words."""
    if np.isinf(error.error):
        return "not the same shape, or not finite at the same places"
    return f"off by {error.error:.4g} ε"


def shown_arguments(case):
    """The arguments as they are written in Python."""
    arguments = {**case.arguments, **case.own_arguments, "reduction": case.reduction}
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())


def shown(values):
    """Numbers as Python lists; of many their shape and range."""
    values = np.asarray(values)
    if values.size > LARGE:
        finite = values[np.isfinite(values)]
        between = f" from {finite.min():.4g} to {finite.max():.4g}" if finite.size else ""
        return f"{values.dtype} of shape {values.shape}{between}"
    return written(values)


def written(values):
    """A nested list with as few digits as tell the numbers apart."""
    values = np.asarray(values)
    if not values.size:
        return f"np.zeros({values.shape})"
    if values.ndim:
        return f"[{', '.join(map(written, values))}]"
    if values.dtype.kind in "iub":
        return str(values)
    if not np.isfinite(values):
        return f"np.{'nan' if np.isnan(values) else 'inf'}" if not values < 0 else "-np.inf"
    single = np.float32(values)
    return repr(float(str(single)) if float(single) == float(values) else float(values))


def array_of(values):
    """Code that makes the array."""
    return written(values) if not np.size(values) else f"np.array({written(values)})"


def packed(case):
    """Code that makes targets with hard labels beside them."""
    return f"(np.array({written(case.y_true)}), np.array({written(case.hard_labels)}))"


def snippet(finding: Finding, subject: str, reference: str, strict: bool = False) -> str:
    """A Python program that fails as the finding did; `subject` and `reference` as `assert_parity` takes them."""
    case = finding.case
    arguments = [
        subject,
        reference,
        f"corpus={case.loss!r}",
        f"y_true={array_of(case.y_true)}" if case.hard_labels is None else f"y_true={packed(case)}",
        f"y_pred={array_of(case.y_pred)}",
    ]
    if case.sample_weight is not None:
        arguments.append(f"sample_weight={array_of(case.sample_weight)}")
    arguments += [f"arguments={dict(**case.arguments, **case.own_arguments)!r}", f"reduction={case.reduction!r}"]
    if case.dtype != "float32":
        arguments.append(f"dtype={case.dtype!r}")
    if strict:
        arguments.append("strict=True")
    if finding.mode != USUAL:
        arguments.append(f"mode={finding.mode!r}")
    body = "".join(f"    {argument},\n" for argument in arguments)
    return (
        f'import os\n\nos.environ["KERAS_BACKEND"] = "{BACKEND}"\n\nimport numpy as np\n\n'
        f"from keras_xent.parity import assert_parity\n\nassert_parity(\n{body})\n"
    )
