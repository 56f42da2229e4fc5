"""Where Keras's divergence and generalised cross-entropy differ, and where they and the focal losses differ alike."""

import numpy as np

from .difference import BINARY_FOCAL, CATEGORICAL_FOCAL, GENERALIZED, INFINITY, KL, NAN, KnownDifference, everywhere
from .known_dtypes import BEYOND_FLOAT16, ROUNDED_IDS
from .known_inputs import DTYPE_IN_CONFIG, LOST, NO_CLASS, NOT_IN_CONFIG, OTHER_SHAPE
from .known_probabilities import DEAD_CLIP, NEAR_0_OR_1
from .known_weights import FEWER_AXES, HALF_UNKNOWN, LABELS, LEADING, NAN_TIMES_ZERO, ONE_HOT, PROBS, UNKNOWN

DIVERGENCE = (
    KnownDifference(
        name="KL: probability below ε, gradient",
        loss=KL,
        what="probabilities [1e-9, 0.5], targets [1, 0]: gradient",
        compared="gradient",
        y_true=[[1.0, 0.0]],
        y_pred=[[1e-9, 0.5]],
        keras=everywhere([[0.0, -2e-7]]),
        ours=[[-1e9, -2e-7]],
        why=DEAD_CLIP,
        region=NEAR_0_OR_1,
    ),
    KnownDifference(
        name="KL: probability 1, gradient",
        loss=KL,
        what="probabilities [1, 0.5], targets [0.5, 0.5]: gradient",
        compared="gradient",
        y_true=[[0.5, 0.5]],
        y_pred=[[1.0, 0.5]],
        keras={"tensorflow": [[-0.5, -1.0]], "jax": [[-0.25, -1.0]], "torch": [[-0.5, -1.0]]},
        ours=[[-0.5, -1.0]],
        why="JAX halves the gradient at the very bound of a clip",
        region=NEAR_0_OR_1,
    ),
    KnownDifference(
        name="KL: sure and wrong in float16",
        loss=KL,
        what='dtype="float16", probabilities [1, 0], targets [0, 1]',
        y_true=[[0.0, 1.0]],
        y_pred=[[1.0, 0.0]],
        arguments={"dtype": "float16"},
        keras=everywhere([INFINITY]),
        ours=[16.11809],
        why="1 / ε passes 65,504, the largest float16; we subtract logarithms, in float32",
        region=BEYOND_FLOAT16,
    ),
    KnownDifference(
        name="KL: class ids for targets",
        loss=KL,
        what="class ids [1, 0] of shape (2, 1), probabilities of shape (2, 2)",
        y_true=[[1], [0]],
        y_pred=[[0.25, 0.75], [0.5, 0.5]],
        keras=everywhere([1.673976, -3.084990e-6]),
        ours="ValueError: must have the same shape",
        why="shapes are not compared: an id becomes the target of every class",
        region=OTHER_SHAPE,
    ),
)

GENERALIZED_CROSSENTROPY = (
    KnownDifference(
        name="generalised: label -1",
        loss=GENERALIZED,
        what="label -1",
        y_true=[-1],
        y_pred=[[0.3, 0.7]],
        keras=everywhere([2.0]),
        ours="ValueError: holds class -1 at position 0",
        why="a label that is no class is an error, not a loss of 1/q with a gradient of NaN",
        region=NO_CLASS,
    ),
    KnownDifference(
        name="generalised: labels as a column",
        loss=GENERALIZED,
        what="labels [0, 1] of shape (2, 1), probabilities of shape (2, 2)",
        y_true=[[0], [1]],
        y_pred=[[0.25, 0.75], [0.64, 0.36]],
        keras=everywhere([[1.0, 0.4], [0.2679492, 0.8]]),
        ours=[1.0, 0.8],
        why="every label is compared with every row, though the documentation allows the shape",
        region=OTHER_SHAPE,
    ),
    KnownDifference(
        name="generalised: probability 0, gradient",
        loss=GENERALIZED,
        what="probabilities [1, 0], label 1: gradient",
        compared="gradient",
        y_true=[1],
        y_pred=[[1.0, 0.0]],
        keras=everywhere([[NAN, -INFINITY]]),
        ours=[[0.0, 0.0]],
        why="q · 0^(q - 1) is infinite, and 0 · ∞ is NaN; where p = 0 the gradient is 0",
        region=NEAR_0_OR_1,
    ),
    KnownDifference(
        name="generalised: small q",
        loss=GENERALIZED,
        what="q=0.0001, probabilities [0.5, 0.5], label 0",
        y_true=[0],
        y_pred=[[0.5, 0.5]],
        arguments={"q": 1e-4},
        keras=everywhere([0.6932020]),
        ours=[0.6931232],
        why="1 and p^q cancel, as they do at p near 1",
        region="small q",
    ),
    KnownDifference(
        name="generalised: class 257 in bfloat16",
        loss=GENERALIZED,
        what='dtype="bfloat16", class 257 of 1000, whose probability is 1',
        y_true=[257],
        y_pred=np.eye(1, 1000, 257),
        arguments={"dtype": "bfloat16"},
        keras=everywhere([2.0]),
        ours=[0.0],
        why="labels are cast to the dtype of the loss: 257 becomes 256",
        region=ROUNDED_IDS,
        upstream="https://github.com/keras-team/keras/issues/15014",
    ),
)


def alike(kind, loss, y_true, *, half, quarter, two_fifths, keras_of_nan):
    """What every loss of the family shows; it gives `half` for a target class of probability 1/2, and so on."""
    return (
        KnownDifference(
            name=f"{kind}: weights of the batch",
            loss=loss,
            what="weights (B,) = [1, 0], losses (B, T), B = T = 2",
            y_true=y_true,
            y_pred=PROBS,
            sample_weight=[1.0, 0.0],
            keras=everywhere([[half, 0.0], [two_fifths, 0.0]]),
            ours=[[half, quarter], [0.0, 0.0]],
            why=LEADING,
            region=FEWER_AXES,
        ),
        KnownDifference(
            name=f"{kind}: NaN without weight",
            loss=loss,
            what="a row of NaN with weight 0, in the sum",
            y_true=[step[1] for step in y_true],  # classes 0 and 1
            y_pred=HALF_UNKNOWN,
            arguments={"reduction": "sum"},
            sample_weight=[1.0, 0.0],
            keras=keras_of_nan,
            ours=quarter,
            why=NAN_TIMES_ZERO,
            region=UNKNOWN,
        ),
        KnownDifference(
            name=f"{kind}: arguments lost in the config",
            loss=loss,
            what="`get_config()` lacks",
            compared="lost arguments",
            y_true=None,
            y_pred=None,
            keras=everywhere(["dtype"]),
            ours=[],
            why=NOT_IN_CONFIG,
            region=LOST,
            upstream=DTYPE_IN_CONFIG,
        ),
    )


NAN_REFUSED = everywhere(NAN) | {"torch": "RuntimeError: all elements of input should be between 0 and 1"}
ALIKE = (
    *alike(
        "categorical focal",
        CATEGORICAL_FOCAL,
        ONE_HOT,
        half=0.04332170,
        quarter=0.1949476,
        two_fifths=0.02043302,
        keras_of_nan=everywhere(NAN),
    ),
    *alike(
        "binary focal",
        BINARY_FOCAL,
        ONE_HOT,
        half=0.1732868,
        quarter=0.7797906,
        two_fifths=0.08173209,
        keras_of_nan=NAN_REFUSED,
    ),
    *alike("KL", KL, ONE_HOT, half=0.6931456, quarter=1.386293, two_fifths=0.5108241, keras_of_nan=everywhere(NAN)),
    *alike("generalised", GENERALIZED, LABELS, half=0.5857864, quarter=1.0, two_fifths=0.4508067, keras_of_nan=everywhere(NAN)),
)
