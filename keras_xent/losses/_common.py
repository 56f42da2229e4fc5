"""What the losses have in common: options, the quantities that recipes start from, steps that several recipes share."""

import keras
from keras import ops

from .. import _checks, steps
from .._base import SLOPE_FLOOR
from .._recipe import Step


def common_options(from_logits, label_smoothing, axis, epsilon, saturated_gradient):
    """The checked options that most losses have."""
    return {
        "label_smoothing": _checks.number("label_smoothing", label_smoothing, 0.0, 1.0),
        **prediction_options(from_logits, axis, epsilon, saturated_gradient),
    }


def prediction_options(from_logits, axis, epsilon, saturated_gradient):
    """The checked options that say what the predictions are, and what happens at the clip."""
    return {
        "from_logits": _checks.flag("from_logits", from_logits),
        "axis": axis,
        "epsilon": _checks.optional_epsilon(epsilon),
        "saturated_gradient": _checks.choice("saturated_gradient", saturated_gradient, ("flow", "zero")),
    }


def label_options(ignore_class, invalid_labels):
    """The checked options of losses whose targets are class ids."""
    return {
        "ignore_class": _checks.class_ids("ignore_class", ignore_class),
        "invalid_labels": _checks.choice("invalid_labels", invalid_labels, ("error", "ignore")),
    }


def focal_options(alpha, gamma):
    """The checked options of focal losses over classes."""
    return {"alpha": _checks.alpha(alpha), "gamma": _checks.number("gamma", gamma, 0.0)}


def keep_half(x, dtype):
    """A tensor in the dtype to compute in, or still in half precision where that is summed in float32."""
    return x if dtype == "float32" and _checks.dtype_of(x) in _checks.HALF_PRECISION else _checks.of_dtype(x, dtype)


def common_quantities(y_pred, options, axis, dtype):
    """The quantities that every recipe starts from, `y_pred` named by the space that it is in.

    Logits in half precision stay so until it is known who takes them: a kernel may read them as they are.
    """
    epsilon = options.get("epsilon")
    y_pred = y_pred.value if isinstance(y_pred, keras.Variable) else y_pred
    space, cast = ("logits", keep_half) if options["from_logits"] else ("probs", _checks.of_dtype)
    return {
        space: cast(y_pred, dtype),
        "axis": axis,
        "epsilon": keras.config.epsilon() if epsilon is None else epsilon,
        "saturated_gradient": options.get("saturated_gradient", "flow"),
        "no_lead": False,  # for a softmax that has no targets
        "slope_floor": max(SLOPE_FLOOR[_checks.dtype_of(y_pred)], SLOPE_FLOOR[dtype]),
    }


def along_classes(vector, y_pred, axis, dtype):
    """One number per class, shaped to broadcast along the class axis."""
    return steps.along_axis(ops.convert_to_tensor(vector, dtype=dtype), y_pred, axis)


def class_quantities(y_pred, options, axis, dtype):
    """Those of a loss over classes: also its options, those that are given per class as tensors along the class axis."""
    quantities = options | common_quantities(y_pred, options, axis, dtype)
    if options.get("class_weight") is not None:
        weights = _checks.class_weights_per_class(options["class_weight"], y_pred, axis)
        quantities["class_weight"] = along_classes(weights, y_pred, axis, dtype)
    if "alpha" in options:
        alpha = options["alpha"]
        if isinstance(alpha, list):
            _checks.one_per_class("alpha", alpha, y_pred, axis)
            quantities["alpha"] = along_classes(alpha, y_pred, axis, dtype)
        else:
            quantities["alpha"] = ops.convert_to_tensor(alpha, dtype=dtype)
    return quantities


TARGET_FROM_LOGITS = (
    Step("is_target", steps.mark_target, scores="logits"),
    Step("target_logit", steps.pick, values="logits"),
    Step("top_logit", steps.find_top_logit),
    Step("gap", steps.measure_gap),
    Step("center", steps.choose_center),
    Step("non_targets", steps.sum_non_targets),
    Step("log_denominator", steps.log_denominator),
    Step("losses", steps.add_gap),
)
RENORMALIZE = Step("probs", steps.renormalize)
CLIPPED_LOG = Step("clipped", steps.clip), Step("log_probs", steps.log)
TARGET_FROM_PROBS = (
    RENORMALIZE,
    Step("target_prob", steps.pick, values="probs"),
    Step("clipped_prob", steps.clip, probs="target_prob"),
    Step("log_prob", steps.log, clipped="clipped_prob", probs="target_prob"),
    Step("losses", steps.negate),
)
DISTRIBUTION_FROM_PROBS = (
    RENORMALIZE,
    *CLIPPED_LOG,
    Step("products", steps.multiply),
    Step("losses", steps.sum_over_classes),
)
SMOOTH = Step("targets", steps.smooth)
WEIGH = Step("targets", steps.weigh)


def below_top(logits="logits", prefix="", leads="leads"):
    """The steps of a softmax in which nothing cancels: how far each class lies below the top one, and the denominator.

    `leads` names the verdict of `steps.check_lead` ("leads") or `steps.check_top` ("top_leads"), or a quantity that is False.
    """
    is_top, top_logit, center, lift, depths, others, log_denominator = (
        prefix + name for name in ("is_top", "top_logit", "top_center", "lift", "depths", "others", "log_denominator")
    )
    return (
        Step(is_top, steps.mark_top, logits=logits),
        Step(top_logit, steps.pick_top_logit, logits=logits, is_top=is_top),
        *((Step("leads", steps.check_lead, is_top=is_top),) if leads == "leads" else ()),
        *((Step(leads, steps.check_top, logits=logits, is_top=is_top, top_logit=top_logit),) if leads == "top_leads" else ()),
        Step(center, steps.center_on_top, top_logit=top_logit, leads=leads),
        Step(lift, steps.measure_lift, top_logit=top_logit, leads=leads),
        Step(depths, steps.measure_depths, logits=logits, is_top=is_top, top_center=center, lift=lift),
        Step(others, steps.sum_others, depths=depths, is_top=is_top),
        Step(log_denominator, steps.log_top_denominator, others=others, lift=lift),
    )


DISTRIBUTION_FROM_LOGITS = (*below_top(), Step("losses", steps.expect_loss))
