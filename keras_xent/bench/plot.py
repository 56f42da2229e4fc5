"""A plot of time and memory against the number of classes."""

import collections

from ..parity.processes import BACKENDS
from .growth import along
from .sizes import BYTES, parse

WIDE, HIGH = 3.6, 2.8  # inches of one diagram


def plot(results, path):
    """Draws a column per backend and mode, and two rows per loss: time, and memory beyond the inputs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    series = collections.defaultdict(lambda: collections.defaultdict(list))
    for one in growing(results.measurements):
        if one.seconds:
            series[one.loss, one.backend, one.mode][one.contender].append(one)
    losses = list(dict.fromkeys(loss for loss, _, _ in series))
    places = list(dict.fromkeys((backend, mode) for _, backend, mode in series))
    contenders = list(dict.fromkeys(name for ones in series.values() for name in ones))
    figure = Figure((WIDE * max(1, len(places)), HIGH * 2 * max(1, len(losses)) + 0.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2 * max(1, len(losses)), max(1, len(places)), squeeze=False)
    for row, loss in enumerate(losses):
        for column, (backend, mode) in enumerate(places):
            time_axes, memory_axes = axes[2 * row, column], axes[2 * row + 1, column]
            time_axes.set_title(f"{loss}: {BACKENDS[backend]}, {mode}", fontsize="medium")
            for name, ones in series[loss, backend, mode].items():
                points = by_classes(ones)
                style = {"label": name, "color": f"C{contenders.index(name) % 10}", "marker": "o", "markersize": 3}
                time_axes.plot([c for c, _ in points], [1e3 * one.seconds["median"] for _, one in points], **style)
                held = [(c, one.memory / 1e6) for c, one in points if one.memory is not None]
                if held:
                    memory_axes.plot(*zip(*held, strict=True), **style)
            unit(series[loss, backend, mode], time_axes, memory_axes)
            classes = sorted({number for ones in series[loss, backend, mode].values() for number, _ in by_classes(ones)})
            for one_axes, what in ((time_axes, "ms"), (memory_axes, "MB beside the inputs")):
                one_axes.set(xscale="log", xlabel="classes V", ylabel=what)
                one_axes.set_xticks(classes, [f"{number:,}" for number in classes])
                one_axes.minorticks_off()
                one_axes.grid(alpha=0.3)
            time_axes.set_yscale("log")
            time_axes.minorticks_on()
            time_axes.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
            memory_axes.set_ylim(bottom=0)
    handles = {}
    for one_axes in figure.axes:
        handles |= dict(zip(*one_axes.get_legend_handles_labels()[::-1], strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, fontsize="small")
    figure.savefig(path, dpi=120)


def growing(measurements):
    """Those of losses that were measured with more classes and fewer; all, if there is no such loss."""
    classes = collections.defaultdict(set)
    for one in measurements:
        if one.call == "function":
            classes[one.loss].add(parse(one.size).classes)
    several = {loss for loss, numbers in classes.items() if len(numbers) > 1}
    return [one for one in measurements if one.loss in several and one.call == "function"] or measurements


def by_classes(ones):
    """Measurements that differ in V alone, each with its V."""
    return sorted(along(ones, "V"), key=lambda point: point[0])


def unit(by_contender, time_axes, memory_axes):
    """One copy of the logits, dashed."""
    points = {}
    for ones in by_contender.values():
        for classes, one in by_classes(ones):
            if one.copies:
                copy = 1e3 * one.seconds["median"] / one.copies["median"]
                points.setdefault(classes, (copy, parse(one.size).logits * BYTES[one.dtype] / 1e6))
    if points:
        classes, values = zip(*sorted(points.items()), strict=True)
        style = {"color": "gray", "linestyle": "--", "label": "one copy of the logits"}
        time_axes.plot(classes, [value[0] for value in values], **style)
        memory_axes.plot(classes, [value[1] for value in values], **style)
