"""The pictures in README.md, drawn anew from running losses.

Every number in them comes from a loss, its `explain`, or its definition: nothing is drawn by hand.

    python examples/gallery.py --output docs/images
"""

import argparse
import os
from pathlib import Path


def parse_arguments(arguments=None):
    """The settings, checked before anything slow happens."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument(
        "--output", type=Path, metavar="DIR", default=Path("gallery_output"), help="a directory (default: %(default)s)"
    )
    settings = parser.parse_args(arguments)
    settings.output.mkdir(parents=True, exist_ok=True)
    return settings


if __name__ == "__main__":
    settings = parse_arguments()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

import keras_xent  # noqa: E402

BLUE, ORANGE, RED, GRAY = "#2f6fb7", "#e08a1e", "#b3261e", "#6b7580"
TEACHER, STUDENT = np.array([[6.0, 3.0, 1.0, -2.0]]), np.array([[4.0, 2.5, 0.0, -1.0]])  # logits
CLASSES = np.arange(4)


def new_figure(width, height):
    """White, so that it reads the same on light and dark pages."""
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def tidy(axes, **labels):
    """Two spines, and small words."""
    axes.set(**labels)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)


def clip():
    """The loss and its gradient by the probability of the true class: Keras's beside ours, and from logits."""
    # As many rows as points: the gradient of the sum is, row by row, that of each loss.
    probs = np.concatenate([np.logspace(-11, -2, 200), np.linspace(0.011, 0.999, 100)])
    two, true = np.stack([probs, 1 - probs], -1), np.tile([1.0, 0.0], (len(probs), 1))
    trace = keras_xent.explain("categorical_crossentropy", true, two)
    logits = np.stack([np.log(probs), np.log1p(-probs)], -1)
    unclipped = keras_xent.explain(keras_xent.CategoricalCrossentropy(from_logits=True), true, logits)
    slopes, theirs = (np.abs(gradient[:, 0]) * len(probs) for gradient in (trace.gradient, trace.keras.gradient))
    figure = new_figure(9.5, 3.4)
    left, right = figure.subplots(1, 2)
    left.plot(probs, unclipped.losses, "--", color=ORANGE, label="from logits")
    left.plot(probs, trace.losses, color=BLUE, label="from probabilities")
    right.plot(probs, slopes, color=BLUE, label="here")
    right.plot(probs, np.where(theirs > 0, theirs, np.nan), ":", color=ORANGE, linewidth=3, label="Keras")
    for axes in (left, right):
        axes.axvline(1e-7, color=RED, linestyle="--", linewidth=1)
        axes.set_xscale("log")
    left.annotate("clip at ε = 1e-07:\nloss 16.118", (1e-7, 16.118), (4e-7, 18.5), color=RED, fontsize=9)
    right.annotate("left of the clip\nKeras's is 0", (1e-7, 1e2), (3e-11, 1e2), color=RED, fontsize=9)
    right.set_yscale("log")
    probability = "probability of the true class"
    tidy(left, title="Loss, nats", xlabel=probability)
    tidy(right, title="Size of its gradient, renormalising included", xlabel=probability)
    for axes in (left, right):
        axes.legend(frameon=False, fontsize=9)
    return figure


def temperature():
    """A teacher and its student at four temperatures, and the gradient that the student gets."""
    temperatures = (1.0, 2.0, 4.0, 8.0)
    figure = new_figure(9.5, 4.8)
    top, bottom = figure.subfigures(2, 1)
    for value, axes in zip(temperatures, top.subplots(1, 4, sharey=True), strict=True):
        loss = keras_xent.DistillationLoss(temperature=value, targets="logits")
        trace = keras_xent.explain(loss, TEACHER, STUDENT)
        draw_pair(axes, *(softmax(logits / value)[0] for logits in (TEACHER, STUDENT)))
        tidy(axes, title=f"T = {value:g}: loss {trace.value:.3f}", xticks=CLASSES)
        axes.title.set_fontsize(10)
    top.axes[0].legend(frameon=False, fontsize=9)
    top.axes[0].set_ylabel("probability", fontsize=9)
    many = np.logspace(0, 1.5, 40)
    axes = bottom.subplots()
    for squared, name, color in ((True, "of T² D", BLUE), (False, "of D", RED)):
        axes.loglog(many, [largest_slope(value, squared) for value in many], color=color, label=name)
    tidy(axes, xlabel="temperature", title="Largest entry of the gradient by the student's logits")
    axes.title.set_fontsize(10)
    axes.legend(frameon=False, fontsize=9)
    return figure


def largest_slope(value, squared):
    """Of the distillation loss, with T² or without."""
    options = {"temperature": value, "targets": "logits", "scale_by_temperature_squared": squared}
    return np.abs(keras_xent.reference.distillation_loss_gradient(TEACHER, STUDENT, **options)).max()


def softmax(logits):
    """Probabilities, classes last."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def draw_pair(axes, teacher, student):
    """Two bars for each class."""
    axes.bar(CLASSES - 0.2, teacher, 0.4, color=ORANGE, label="teacher")
    axes.bar(CLASSES + 0.2, student, 0.4, color=BLUE, label="student")


def explain():
    """What `keras_xent.explain(...).plot()` draws of the two rows in Keras's documentation."""
    y_pred = [[0.05, 0.95, 0.0], [0.1, 0.8, 0.1]]
    return keras_xent.explain(keras_xent.CategoricalCrossentropy(), [[0, 1, 0], [0, 0, 1]], y_pred).plot()


def distillation():
    """What it draws of a teacher and its student."""
    loss = keras_xent.DistillationLoss(temperature=4.0, targets="logits")
    return keras_xent.explain(loss, TEACHER, STUDENT).plot()


PICTURES = {"clip": clip, "temperature": temperature, "explain": explain, "distillation": distillation}


def main(output):
    """Draws all, and says where."""
    for name, draw in PICTURES.items():
        path = output / f"{name}.png"
        draw().savefig(path, dpi=80, metadata={"Software": None})
        print(path)


if __name__ == "__main__":
    main(settings.output)
