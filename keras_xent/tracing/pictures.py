"""A trace as pictures: predictions beside targets, shares of the loss, the loss by the probability of the true class."""

import keras
import numpy as np

from .examples import Examples

BARS = 12  # so many classes of an example are drawn
BLUE, ORANGE, RED, GRAY = "#2f6fb7", "#e08a1e", "#b3261e", "#6b7580"
LEAST = 1e-10  # probability on the curve


def new_figure(width, height, path=None):
    """A context with a figure that belongs to no window; written to `path` in the end, if there is one."""
    try:
        from .figures import drawn
    except ImportError as error:
        raise ImportError("Pictures need matplotlib: pip install matplotlib") from error
    return drawn(width, height, path)


def picture(trace, path=None):
    """A figure of matplotlib; written to `path`, if there is one."""
    examples = Examples(trace)
    if not examples.number:
        raise ValueError("There is no example to draw: the batch is empty.")
    classes = [most_telling(examples, place) for place in range(examples.number)]
    with new_figure(10.0, 9.5, path) as figure:
        figure.suptitle(trace.loss if len(trace.loss) < 90 else f"{trace.loss[:87]}…", fontsize=11)
        draw(figure, examples, classes)
    return figure


def draw(figure, examples, classes):
    """Distributions, shares and the curve, or the distributions at the temperature."""
    top, middle, bottom = figure.subfigures(3, 1, squeeze=False).ravel()
    teaches = examples.kind == "teacher"
    names = ("teacher", "student") if teaches else ("target", "prediction")
    title = "Teacher and student at T = 1" if teaches else "Predictions beside targets"
    draw_bars(top, title, examples.targets, examples.predictions, names, classes)
    draw_shares(middle, examples, classes)
    if teaches:
        temperature = examples.loss.temperature
        teacher, student = examples.tempered(temperature)
        draw_bars(bottom, f"The same at T = {temperature:g}", teacher, student, names, classes)
    else:
        draw_curve(bottom, examples)


def most_telling(examples, place):
    """The classes that are drawn of an example: all, or those of the largest target, prediction or share."""
    number = examples.targets.shape[-1]
    if number <= BARS:
        return np.arange(number)
    with np.errstate(invalid="ignore"):
        weight = np.maximum(np.abs(examples.targets[place]), np.abs(examples.predictions[place][:number]))
    return np.sort(np.argsort(-np.nan_to_num(weight), kind="stable")[:BARS])


def draw_bars(figure, title, targets, predictions, names, classes):
    """Two bars for each class."""
    figure.suptitle(title, fontsize=10, color=GRAY)
    for place, (axes, shown) in enumerate(zip(figure.subplots(1, len(classes), squeeze=False)[0], classes, strict=True)):
        where = np.arange(len(shown))
        axes.bar(where - 0.2, targets[place][shown], 0.4, color=ORANGE, label=names[0])
        axes.bar(where + 0.2, predictions[place][shown], 0.4, color=BLUE, label=names[1])
        label_classes(axes, shown, place)
        if place == 0:
            axes.legend(fontsize=8, frameon=False)


def draw_shares(figure, examples, classes):
    """What each class adds to the loss."""
    what = "output" if examples.kind == "answers" else "class"
    figure.suptitle(f"What each {what} adds to the loss, in nats", fontsize=10, color=GRAY)
    shares, losses = examples.shares(classes)
    for place, (axes, shown) in enumerate(zip(figure.subplots(1, len(classes), squeeze=False)[0], classes, strict=True)):
        axes.bar(np.arange(len(shown)), np.where(np.isfinite(shares[place]), shares[place], 0.0), 0.6, color=RED)
        label_classes(axes, shown, place)
        axes.set_title(f"example {place}: {losses[place]:.5g}", fontsize=9)


def label_classes(axes, shown, place):
    """The names of classes below their bars."""
    axes.set_xlim(-0.6, len(shown) - 0.4)
    axes.set_xticks(np.arange(len(shown)), [str(each) for each in shown], fontsize=8)
    axes.tick_params(axis="y", labelsize=8)
    axes.set_title(f"example {place}", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def draw_curve(figure, examples):
    """The loss by the probability of the true class; where probabilities are clipped; where the examples are."""
    true = "yes" if examples.kind == "answers" else "true class"
    figure.suptitle(f"The loss by the probability of the {true}", fontsize=10, color=GRAY)
    axes = figure.subplots()
    probs = np.concatenate([np.logspace(np.log10(LEAST), -1, 300, endpoint=False), np.linspace(0.1, 1.0 - 1e-6, 200)])
    axes.plot(probs, examples.loss_by_probability(probs), color=BLUE)
    clips = not examples.from_logits and "epsilon" in examples.loss._options
    if clips:
        epsilon = examples.loss.epsilon or keras.config.epsilon()
        at_clip = examples.loss_by_probability(np.array([epsilon]))[0]
        axes.axvline(epsilon, color=RED, linestyle="--", linewidth=1)
        axes.annotate(f" clip: ε = {epsilon:g}, loss {at_clip:.5g}", (epsilon, at_clip), color=RED, fontsize=8, va="bottom")
    for place in range(examples.number):
        total = examples.targets[place].sum()
        chosen = examples.predictions[place] * examples.targets[place]
        seen = float(np.clip(np.nan_to_num(chosen.sum() / total if total else 0.0), LEAST, 1.0 - 1e-6))
        cost = examples.loss_by_probability(np.array([seen]))[0]
        axes.plot([seen], [cost], "o", color=ORANGE)
        axes.annotate(f"example {place}", (seen, cost), (5, 5), textcoords="offset points", fontsize=8)
    axes.set_xscale("log")
    axes.set_xlabel(f"probability of the {true}" + ("" if clips else " (nothing is clipped)"), fontsize=9)
    axes.set_ylabel("nats", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.margins(x=0.02, y=0.1)
    axes.spines[["top", "right"]].set_visible(False)
