"""Where Keras reads its inputs differently: labels, axes, arguments."""

from .difference import BINARY, CATEGORICAL, LOGITS, SPARSE, KnownDifference, everywhere

NO_SUCH_CLASS = "a label that is no class is an error, not a loss of 0"
ONE_CLASS = "one class leaves nothing to tell apart: the loss is constant, and learns nothing"
NOT_IN_CONFIG = "a loss rebuilt from its config computes something else"
OUT_OF_RANGE = "InvalidArgumentError: Received a label value of"

NO_CLASS = "labels that are no class"
SINGLE_CLASS = "one class"
OTHER_SHAPE = "targets of another shape"
ANOTHER_AXIS = "options of classes along another axis"
LOST = "lost arguments"
RANGES = "arguments out of range"

SMOOTHED_ALONG_THE_LAST = "https://github.com/keras-team/keras/issues/23451"
SMOOTHING_VALIDATED = "https://github.com/keras-team/keras/pull/23504"
DTYPE_IN_CONFIG = "https://github.com/keras-team/keras-core/pull/930"

CHANNELS_FIRST = [[[0.7, 0.1], [0.2, 0.3], [0.1, 0.6]]]

LABELS_AND_CLASSES = (
    KnownDifference(
        name="sparse: label equal to the number of classes",
        loss=SPARSE,
        what="label 3 of 3 classes",
        y_true=[3],
        y_pred=[[1.0, 2.0, 3.0]],
        arguments=LOGITS,
        keras={
            "tensorflow": f"{OUT_OF_RANGE} 3",
            "jax": [0.0],
            "torch": {
                "3.12.0": "RuntimeError: Class values must be smaller",
                "3.14.0": "IndexError: Target 3 is out of bounds",
            },
        },
        ours="ValueError: holds class 3 at position 0, but `y_pred` has 3 classes",
        why=NO_SUCH_CLASS,
        region=NO_CLASS,
    ),
    KnownDifference(
        name="sparse: label -1",
        loss=SPARSE,
        what="label -1",
        y_true=[-1],
        y_pred=[[0.2, 0.3, 0.5]],
        keras={
            "tensorflow": f"{OUT_OF_RANGE} -1",
            "jax": [0.0],
            "torch": {"3.12.0": [0.0], "3.14.0": "IndexError: Target -1 is out of bounds"},
        },
        ours="ValueError: holds class -1 at position 0",
        why=NO_SUCH_CLASS,
        region=NO_CLASS,
    ),
    KnownDifference(
        name="sparse: label -100",
        loss=SPARSE,
        what="label -100",
        y_true=[-100],
        y_pred=[[1.0, 2.0, 3.0]],
        arguments=LOGITS,
        keras={"tensorflow": f"{OUT_OF_RANGE} -100", "jax": [0.0], "torch": [0.0]},
        ours="ValueError: holds class -100 at position 0",
        why="PyTorch ignores this label, whatever `ignore_class` says",
        region=NO_CLASS,
    ),
    KnownDifference(
        name="sparse: fractional label",
        loss=SPARSE,
        what="label 1.5",
        y_true=[1.5],
        y_pred=[[0.2, 0.3, 0.5]],
        keras=everywhere([1.203973]),
        ours="ValueError: holds 1.5 at position 0, which is not a class id",
        why="the label is cut to class 1",
        region=NO_CLASS,
    ),
    KnownDifference(
        name="sparse: class axis in the middle",
        loss=SPARSE,
        what="axis=1, probabilities of shape (1, 3, 2)",
        y_true=[[0, 2]],
        y_pred=CHANNELS_FIRST,
        arguments={"axis": 1},
        keras={
            "tensorflow": "ValueError: Only axis=-1 is currently supported",
            "jax": "ValueError: must have the same shape up until the last dimension",
            "torch": [[0.3566749, 0.5108256]],
        },
        ours=[[0.3566749, 0.5108256]],
        why="only PyTorch takes another axis than the last",
        region="class axis in the middle",
        upstream="https://github.com/keras-team/keras/pull/22140",
    ),
    KnownDifference(
        name="sparse: images of probabilities, gradient",
        loss=SPARSE,
        what="probabilities of shape (1, 1, 2, 2), class 0: gradient",
        compared="gradient",
        y_true=[[[0, 0]]],
        y_pred=[[[[0.5, 0.5], [0.25, 0.75]]]],
        keras=everywhere([[[[-1.0, 1.0], [-3.0, 1.0]]]])
        | {"torch": {"3.12.0": [[[[-1.0, 1.0], [-3.0, 1.0]]]], "3.14.0": "RuntimeError: grad_input must be contiguous"}},
        ours=[[[[-1.0, 1.0], [-3.0, 1.0]]]],
        why="PyTorch's loss of images has no gradient for the order in memory that moving the classes leaves",
        region="images of probabilities",
    ),
    KnownDifference(
        name="categorical: label smoothing along the class axis",
        loss=CATEGORICAL,
        what="axis=1, label_smoothing=0.3, probabilities of shape (1, 3, 2)",
        y_true=[[[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]],
        y_pred=CHANNELS_FIRST,
        arguments={"axis": 1, "label_smoothing": 0.3},
        keras=everywhere([[0.8899772, 0.9601854]]),
        ours=[[0.6765423, 0.7593163]],
        why="the share 0.3 is divided by the size of the last axis, 2, not by the 3 classes",
        region=ANOTHER_AXIS,
        upstream=SMOOTHED_ALONG_THE_LAST,
    ),
    KnownDifference(
        name="categorical: one class",
        loss=CATEGORICAL,
        what="one column of probabilities, 0.3",
        y_true=[[1.0]],
        y_pred=[[0.3]],
        keras=everywhere([1.192093e-7]),
        ours="ValueError: expected num_classes > 1",
        why=ONE_CLASS,
        region=SINGLE_CLASS,
        upstream="https://github.com/keras-team/keras/issues/17029",
    ),
    KnownDifference(
        name="sparse: one class",
        loss=SPARSE,
        what="one column of probabilities, 0.3",
        y_true=[0],
        y_pred=[[0.3]],
        keras={"tensorflow": [0.0], "jax": [1.192093e-7], "torch": [1.192093e-7]},
        ours="ValueError: expected num_classes > 1",
        why=ONE_CLASS,
        region=SINGLE_CLASS,
    ),
)

ARGUMENTS = (
    KnownDifference(
        name="categorical: arguments lost in the config",
        loss=CATEGORICAL,
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
    KnownDifference(
        name="sparse: arguments lost in the config",
        loss=SPARSE,
        what="`get_config()` lacks",
        compared="lost arguments",
        y_true=None,
        y_pred=None,
        keras=everywhere(["axis", "dtype"]),
        ours=[],
        why=NOT_IN_CONFIG,
        region=LOST,
        upstream="https://github.com/keras-team/keras/pull/23286",
    ),
    KnownDifference(
        name="binary: arguments lost in the config",
        loss=BINARY,
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
    KnownDifference(
        name="categorical: label smoothing above 1",
        loss=CATEGORICAL,
        what="label_smoothing=2, probabilities [0.25, 0.75], one-hot class 1",
        y_true=[[0.0, 1.0]],
        y_pred=[[0.25, 0.75]],
        arguments={"label_smoothing": 2.0},
        keras=everywhere([1.386294]),
        ours="ValueError: `label_smoothing` must be a finite number, at least 0 and at most 1",
        why="the target becomes the other class",
        region=RANGES,
        upstream=SMOOTHING_VALIDATED,
    ),
    KnownDifference(
        name="binary: label smoothing above 1",
        loss=BINARY,
        what="label_smoothing=2, probability 0.75, target 1",
        y_true=[[1.0]],
        y_pred=[[0.75]],
        arguments={"label_smoothing": 2.0},
        keras=everywhere([1.386294]),
        ours="ValueError: `label_smoothing` must be a finite number, at least 0 and at most 1",
        why="the yes becomes a no",
        region=RANGES,
        upstream=SMOOTHING_VALIDATED,
    ),
)
