"""The kernels from probabilities, whose formulas are written once for every library of arrays: which there are, and when."""

from . import probs_answers, probs_distributions, probs_divergence, probs_focal, probs_focal_answers, probs_ids
from .exponents import serves_exponent
from .shortcuts import Kernel

SMALLEST_EPSILON = 2.0**-24  # 1 less a smaller one is 1
FORMULAS = {
    "IDS": probs_ids.FORMULA,
    "DISTRIBUTIONS": probs_distributions.FORMULA,
    "FOCAL": probs_focal.FORMULA,
    "ANSWERS": probs_answers.FORMULA,
    "FOCAL_ANSWERS": probs_focal_answers.FORMULA,
    "DIVERGENCE": probs_divergence.FORMULA,
}


def kernels_of(losses_of, serves_probs):
    """Those of yes/no outputs, distributions (both also focal), divergence and class ids.

    `losses_of(name, clip, plain)` is a function of probabilities, targets and weights, `plain` being that in steps of a matrix.
    """

    def serves(quantities):
        exact = quantities["epsilon"] >= SMALLEST_EPSILON and ("gamma" not in quantities or serves_exponent(quantities))
        return exact and serves_probs(quantities) and quantities["probs"].shape[-1] != 0

    def losses(name, high, in_steps, epsilon, slope_floor, saturated_gradient, rows, **focus):
        options = {"epsilon": epsilon, "slope_floor": slope_floor, "saturated_gradient": saturated_gradient}
        numbers = epsilon, high, slope_floor, saturated_gradient == "flow", *focus.values()

        def plain(*others):
            return in_steps(**dict(zip(rows, others, strict=True)), **options, **focus, axis=1)

        return losses_of(name, FORMULAS[name].clip(*map(float, numbers)), plain)(*rows.values())

    def id_losses(probs, labels, axis, epsilon, slope_floor, saturated_gradient, in_steps):
        """-log of the target's clipped share: all steps at once.

        loss = -log c_y
        """
        del axis
        rows = {"probs": probs, "labels": labels}
        return losses("IDS", 1.0 - epsilon, in_steps, epsilon, slope_floor, saturated_gradient, rows)

    def distribution_losses(probs, targets, axis, epsilon, slope_floor, saturated_gradient, in_steps):
        """The expected -log of the clipped shares under the targets: all steps at once.

        loss = -Σ_k t_k log c_k
        """
        del axis
        rows = {"probs": probs, "targets": targets}
        return losses("DISTRIBUTIONS", 1.0 - epsilon, in_steps, epsilon, slope_floor, saturated_gradient, rows)

    def focal_distribution_losses(probs, targets, axis, gamma, epsilon, slope_floor, saturated_gradient, in_steps):
        """That, of which a confident share counts for less: all steps at once.

        loss = -Σ_k t_k (1 - c_k)^γ log c_k
        """
        del axis
        rows = {"probs": probs, "targets": targets}
        given = 1.0 - epsilon, in_steps, epsilon, slope_floor, saturated_gradient, rows
        return losses("FOCAL", *given, gamma=gamma)

    def answer_losses(probs, targets, pos_weight, axis, epsilon, slope_floor, saturated_gradient, in_steps):
        """The mean cost of the outputs: all steps at once.

        loss = -Σ_i (w_i t_i log c_i + (1 - t_i) log(1 - c_i)) / n
        """
        del axis
        rows = {"probs": probs, "targets": targets, "pos_weight": pos_weight}
        return losses("ANSWERS", 1.0 - epsilon, in_steps, epsilon, slope_floor, saturated_gradient, rows)

    def focal_answer_losses(probs, targets, pos_weight, axis, gamma, epsilon, slope_floor, saturated_gradient, in_steps):
        """That, of which an easy output counts for less: all steps at once.

        loss = -Σ_i m_i^γ (w_i t_i log c_i + (1 - t_i) log(1 - c_i)) / n
        """
        del axis
        rows = {"probs": probs, "targets": targets, "pos_weight": pos_weight}
        given = 1.0 - epsilon, in_steps, epsilon, slope_floor, saturated_gradient, rows
        return losses("FOCAL_ANSWERS", *given, gamma=gamma)

    def divergence_losses(probs, targets, axis, epsilon, slope_floor, saturated_gradient, in_steps):
        """The divergence of clipped probabilities: all steps at once.

        loss = Σ_k u_k (log u_k - log c_k)
        """
        del axis
        rows = {"probs": probs, "targets": targets}
        return losses("DIVERGENCE", 1.0, in_steps, epsilon, slope_floor, saturated_gradient, rows)

    functions = (
        answer_losses,
        focal_answer_losses,
        distribution_losses,
        focal_distribution_losses,
        divergence_losses,
        id_losses,
    )
    return [Kernel(each, serves) for each in functions]
