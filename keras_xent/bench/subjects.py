"""What is measured: each loss with its inputs, its definition, and who computes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import linear, peers
from .contenders import Contender, after_softmax, as_one_hot, built_in, built_in_distillation, ours
from .sizes import Size


@dataclass(frozen=True)
class Subject:
    """A loss: what its inputs are, which definition it has, and its contenders."""

    name: str
    words: str
    loss: str  # its class in `keras_xent`, and by its function's name its definition
    targets: str  # "ids", "dense", "answers", "teacher" (its logits) or "features" (a teacher's, and its kernel)
    contenders: tuple[Contender, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    space: str = "logits"  # of the predictions, or "probs", or "linear": features and a kernel
    sizes: tuple[Size, ...] = (Size(2048, 32000), Size(128, 10))
    quick_sizes: tuple[Size, ...] = (Size(256, 8000), Size(128, 10))

    def among(self, backend, device, call, anywhere=False):
        """Who can be asked there; `anywhere`: even if it is not installed."""
        return [who for who in self.contenders if who.fits(backend, device, call) and (anywhere or who.here)]


LOGITS, TEMPERATURE = {"from_logits": True}, {"temperature": 2.0}
SPARSE, DENSE, BINARY = "SparseCategoricalCrossentropy", "CategoricalCrossentropy", "BinaryCrossentropy"
BINARY_FOCAL = "BinaryFocalCrossentropy"
FOCAL, DIVERGENCE, GENERALIZED = "CategoricalFocalCrossentropy", "KLDivergence", "CategoricalGeneralizedCrossEntropy"
EVERY = (
    Subject(
        "sparse",
        "cross-entropy of class ids from logits",
        SPARSE,
        "ids",
        (*ours(SPARSE, **LOGITS), *built_in(SPARSE, **LOGITS), *peers.SPARSE),
        LOGITS,
    ),
    Subject(
        "dense",
        "cross-entropy of distributions from logits",
        DENSE,
        "dense",
        (*ours(DENSE, **LOGITS), *built_in(DENSE, **LOGITS), *peers.DENSE),
        LOGITS,
    ),
    Subject(
        "binary",
        "binary cross-entropy from logits",
        BINARY,
        "answers",
        (*ours(BINARY, **LOGITS), *built_in(BINARY, **LOGITS), *peers.BINARY),
        LOGITS,
    ),
    Subject(
        "focal",
        "focal loss of distributions from logits",
        FOCAL,
        "dense",
        (*ours(FOCAL, **LOGITS), *built_in(FOCAL, **LOGITS)),
        LOGITS,
    ),
    Subject(
        "sparse-focal",
        "focal loss of class ids from logits; Keras's of one-hot targets",
        f"Sparse{FOCAL}",
        "ids",
        (*ours(f"Sparse{FOCAL}", **LOGITS), *built_in(FOCAL, as_one_hot, **LOGITS)),
        LOGITS,
    ),
    Subject(
        "binary-focal",
        "binary focal loss from logits",
        BINARY_FOCAL,
        "answers",
        (*ours(BINARY_FOCAL, **LOGITS), *built_in(BINARY_FOCAL, **LOGITS), *peers.BINARY_FOCAL),
        LOGITS,
    ),
    Subject(
        "kl",
        "Kullback-Leibler divergence from logits; Keras's of their softmax",
        DIVERGENCE,
        "dense",
        (*ours(DIVERGENCE, **LOGITS), *built_in(DIVERGENCE, after_softmax), *peers.DIVERGENCE),
        LOGITS,
    ),
    Subject(
        "distillation",
        "distillation from a teacher's logits at temperature 2; Keras's with KLDivergence()",
        "DistillationLoss",
        "teacher",
        (
            *ours("DistillationLoss", targets="logits", **TEMPERATURE),
            *built_in_distillation(**TEMPERATURE),
            *peers.distillation(**TEMPERATURE),
        ),
        {"targets": "logits", **TEMPERATURE},
    ),
    Subject("sparse-probs", "sparse, from probabilities", SPARSE, "ids", (*ours(SPARSE), *built_in(SPARSE)), space="probs"),
    Subject("dense-probs", "dense, from probabilities", DENSE, "dense", (*ours(DENSE), *built_in(DENSE)), space="probs"),
    Subject(
        "binary-probs",
        "binary, from probabilities",
        BINARY,
        "answers",
        (*ours(BINARY), *built_in(BINARY), *peers.BINARY_PROBS),
        space="probs",
    ),
    Subject("focal-probs", "focal, from probabilities", FOCAL, "dense", (*ours(FOCAL), *built_in(FOCAL)), space="probs"),
    Subject(
        "binary-focal-probs",
        "binary focal, from probabilities",
        BINARY_FOCAL,
        "answers",
        (*ours(BINARY_FOCAL), *built_in(BINARY_FOCAL)),
        space="probs",
    ),
    Subject(
        "kl-probs", "divergence of probabilities", DIVERGENCE, "dense", (*ours(DIVERGENCE), *built_in(DIVERGENCE)), space="probs"
    ),
    Subject(
        "generalized",
        "generalised cross-entropy of class ids, from probabilities",
        GENERALIZED,
        "ids",
        (*ours(GENERALIZED, q=0.5), *built_in(GENERALIZED, q=0.5)),
        {"q": 0.5},
        space="probs",
    ),
    Subject(
        "linear",
        "cross-entropy of class ids from features and a kernel; Keras's of all logits at once",
        SPARSE,
        "ids",
        linear.CONTENDERS,
        LOGITS,
        "linear",
        (Size(2048, 128000, 256),),
        (Size(128, 4000, 64),),
    ),
    Subject(
        "linear-distillation",
        "distillation from the features and kernels of teacher and student; Keras's of all logits at once",
        "DistillationLoss",
        "features",
        linear.distillation(**TEMPERATURE),
        {"targets": "logits", **TEMPERATURE},
        "linear",
        (Size(2048, 128000, 256),),
        (Size(128, 4000, 64),),
    ),
)
SUBJECTS = {subject.name: subject for subject in EVERY}
