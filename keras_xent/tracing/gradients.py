"""The gradient of each loss by its predictions, as a formula: what `keras_xent.reference` computes it by."""

FROM_LOGITS = {
    "CategoricalCrossentropy": "g_k = (Σ_j w_j t_j) p_k - w_k t_k,  p = softmax(z)",
    "SparseCategoricalCrossentropy": "g_k = (Σ_j w_j t_j) p_k - w_k t_k,  p = softmax(z), t_k = 1 if k = y else 0",
    "BinaryCrossentropy": "g = ((1 - t) σ(z) - w t σ(-z)) / (number averaged)",
    "CategoricalFocalCrossentropy": (
        "g_k = (Σ_j u_j) p_k - u_k,  u_k = α_k w_k t_k (1 - p_k)^γ (1 + γ p_k (-log p_k) / (1 - p_k)),  p = softmax(z)"
    ),
    "SparseCategoricalFocalCrossentropy": (
        "g_k = (Σ_j u_j) p_k - u_k,  u_k = α_k w_k t_k (1 - p_k)^γ (1 + γ p_k (-log p_k) / (1 - p_k)),  p = softmax(z), "
        "t_k = 1 if k = y else 0"
    ),
    "BinaryFocalCrossentropy": (
        "g = b (γ c^(γ-1) (1 - 2 t) σ(z) σ(-z) e + c^γ ((1 - t) σ(z) - w t σ(-z))) / (number averaged),  e the cross-entropy"
    ),
    "KLDivergence": "g_k = (Σ_j t_j) p_k - t_k,  p = softmax(z)",
    "CategoricalGeneralizedCrossEntropy": "g_k = p_y^q (p_k - t_k),  p = softmax(z), t_k = 1 if k = y else 0",
}
THROUGH_SUM = ",  taken back through q = p / Σ p: (s_k - Σ_j s_j q_j) / Σ p"
FROM_PROBS = {
    "CategoricalCrossentropy": f"s_k = -w_k t_k / q_k{THROUGH_SUM}",
    "SparseCategoricalCrossentropy": f"s_k = -w_k t_k / q_k, t_k = 1 if k = y else 0{THROUGH_SUM}",
    "BinaryCrossentropy": "g = ((1 - t) / (1 - p) - w t / p) / (number averaged)",
    "CategoricalFocalCrossentropy": f"s_k = α_k w_k t_k (γ (1 - q_k)^(γ-1) log q_k - (1 - q_k)^γ / q_k){THROUGH_SUM}",
    "SparseCategoricalFocalCrossentropy": (
        f"s_k = α_k w_k t_k (γ (1 - q_k)^(γ-1) log q_k - (1 - q_k)^γ / q_k), t_k = 1 if k = y else 0{THROUGH_SUM}"
    ),
    "BinaryFocalCrossentropy": (
        "g = b (γ c^(γ-1) (1 - 2 t) e + c^γ ((1 - t) / (1 - p) - w t / p)) / (number averaged),  e the cross-entropy"
    ),
    "KLDivergence": "g_k = -t_k / p_k",
    "CategoricalGeneralizedCrossEntropy": "g_y = -p_y^(q-1), and 0 for the others",
}
DISTILLATION = {
    "kl": "q_k - p_k",
    "crossentropy": "q_k - p_k",
    "reverse_kl": "q_k (e_k - Σ_j q_j e_j), e = log q - log p",
    "jsd": "(1 - β) q_k (e_k - Σ_j q_j e_j), e = log q - log m",
}


def formula_of(loss):
    """The formula for a loss object: d loss_i / d y_pred, and what the weights and the reduction make of it."""
    name = type(loss).__name__
    if name == "DistillationLoss":
        squared = "T² " if loss.scale_by_temperature_squared else ""
        formula = f"g_k = (1 - λ) {squared}({DISTILLATION[loss.divergence]}) / T"
        formula += " + λ (softmax(s)_k - label_k)" if loss.label_weight else ""
        formula += ",  p and q those of teacher and student at temperature T"
        formula += "" if loss.from_logits else ",  taken back through the logarithm and q = p / Σ p"
    else:
        formula = (FROM_LOGITS if loss.from_logits else FROM_PROBS)[name]
    return formula, {"sum": "w_i g", "none": "w_i g", None: "w_i g"}.get(loss.reduction, "w_i g / N")
