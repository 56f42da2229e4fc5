"""How far is a loss of the teacher's k largest log-probabilities from the loss of all of them? Each tail, as k grows.

Teachers fall off like words of a language, some steeply and some not; students are teachers with noise on their logits. The
loss of the first k classes and its gradient by the student's logits are set beside those of the dense loss.

    python examples/compare_tails.py --backend jax
"""

import json
import time

from _shared import Parser, new_console

FULL = {"classes": 5000, "examples": 64}
QUICK = {"classes": 500, "examples": 16}
TEMPERATURES = (1.0, 4.0)
EXPONENTS = (1.0, 2.5)  # Zipf's law has 1; what a model expects after a given text falls off more steeply
NOISE = 1.0  # standard deviation of the student's logits from the teacher's
CLOSE = 0.1  # an error of the gradient that the reading calls small


def parse_arguments(arguments=None):
    """The settings, checked before anything slow happens."""
    parser = Parser(__doc__, FULL, QUICK, "compare_tails_output")
    parser.add_preset("classes", 200_000, "of the teacher", least=2)
    parser.add_preset("examples", 10_000, "teachers drawn")
    parser.add_number("seed", int, 0, 2**32 - 1, 0, "of the draws")
    return parser.settings(arguments)


if __name__ == "__main__":
    settings = parse_arguments()

import keras  # noqa: E402
import matplotlib  # noqa: E402
import numpy as np  # noqa: E402
from rich.box import SIMPLE_HEAD  # noqa: E402
from rich.table import Table  # noqa: E402

import keras_xent  # noqa: E402
from keras_xent.distill.top_k import TAILS  # noqa: E402

matplotlib.use("Agg")  # draws into files; needs no display
import matplotlib.pyplot as plt  # noqa: E402

# ---------------------------------------------------------------------------------------------------------- the draws


def drawn(examples, classes, seed):
    """Logits of teachers, a straight line in the logarithm of a class's rank, the ranks in any order; and of their students."""
    rng = np.random.default_rng(seed)
    exponents = rng.uniform(*EXPONENTS, (examples, 1))
    teacher = rng.permuted(-exponents * np.log(np.arange(1, classes + 1)), axis=-1)
    student = teacher + rng.normal(0, NOISE, teacher.shape)
    return teacher.astype("float32"), student.astype("float32")


def numbers_of_k(classes):
    """Powers of two up to 1024, then all classes."""
    return [2**n for n in range(11) if 2**n < classes] + [classes]


# ------------------------------------------------------------------------------------------------------ what is measured


def value_and_gradient(loss):
    """A function from `y_true` and the student's logits to the loss and its gradient by the logits, as NumPy arrays."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        @tf.function
        def compute(student, y_true):
            with tf.GradientTape() as tape:
                tape.watch(student)
                value = loss(y_true, student)
            return value, tape.gradient(value, student)

    elif keras.backend.backend() == "jax":
        import jax

        compute = jax.jit(jax.value_and_grad(lambda student, y_true: loss(y_true, student)))
    else:

        def compute(student, y_true):
            student.requires_grad_()
            value = loss(y_true, student)
            value.backward()
            return value, student.grad

    def computed(y_true, student):
        value, gradient = compute(keras.ops.convert_to_tensor(student), keras.ops.convert_to_tensor(y_true))
        return tuple(keras.ops.convert_to_numpy(part).astype("float64") for part in (value, gradient))

    return computed


def compare(value, gradient, dense_value, dense_gradient):
    """The errors of one loss; a gradient of zeros points nowhere, and has no cosine."""
    norm, dense_norm = np.linalg.norm(gradient), np.linalg.norm(dense_gradient)
    return {
        "loss": float(value),
        "loss_error": float((value - dense_value) / dense_value),
        "gradient_error": float(np.linalg.norm(gradient - dense_gradient) / dense_norm),
        "norm_ratio": float(norm / dense_norm),
        "cosine": float(np.sum(gradient * dense_gradient) / (norm * dense_norm)) if norm > 0 else None,
    }


def measure(settings, temperature):
    """All tails and all k at one temperature."""
    teacher, student = drawn(settings.examples, settings.classes, settings.seed)
    dense = value_and_gradient(keras_xent.DistillationLoss(temperature, targets="logits"))(teacher, student)
    tails = {tail: value_and_gradient(keras_xent.DistillationLoss(temperature, targets="top_k", tail=tail)) for tail in TAILS}
    pairs = keras_xent.distill.top_k_targets(teacher, settings.classes, temperature=temperature)
    rows = []
    for k in numbers_of_k(settings.classes):
        # Log-probabilities of -inf list nothing: the first k, in a shape that is the same for all k and compiled once.
        first = pairs.copy()
        first[:, k:, 1] = -np.inf
        errors = {tail: compare(*computed(first, student), *dense) for tail, computed in tails.items()}
        rows.append({"k": k, "listed": float(np.exp(first[..., 1]).sum(axis=-1).mean()), "tails": errors})
    return {"temperature": temperature, "dense_loss": float(dense[0]), "rows": rows}


def enough(rows, tail):
    """The smallest k from which on the gradient is close to the dense one."""
    far = [row["k"] for row in rows if row["tails"][tail]["gradient_error"] > CLOSE]
    return min(row["k"] for row in rows if row["k"] > max(far, default=0))


def reading(measured):
    """What the numbers say, in one sentence."""
    classes = measured[0]["rows"][-1]["k"]
    findings = []
    for at in measured:
        needed = {tail: enough(at["rows"], tail) for tail in TAILS}
        words = [
            f"{'all' if k == classes else k} ({', '.join(tail for tail in TAILS if needed[tail] == k)})"
            for k in sorted(set(needed.values()))
        ]
        findings.append(f"at temperature {at['temperature']:g}: {', '.join(words)}")
    return f"For a gradient within {CLOSE:.0%} of the dense one it takes, of {classes} classes, {'; '.join(findings)}."


# ------------------------------------------------------------------------------------------------------------ showing


def table_of(at):
    """A row for each k; of each tail the loss's error and two views of the gradient."""
    title = f"Temperature {at['temperature']:g}: dense loss {at['dense_loss']:.4g} nats"
    caption = "loss: its relative error; norm: the gradient's length over the dense one's\ncosine: of the angle between the two"
    table = Table(title=title, caption=caption, box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("\nk", justify="right")
    table.add_column("listed\nmass", justify="right")
    for tail in TAILS:
        for heading in (f"{tail}\nloss", "\nnorm", "\ncosine"):
            table.add_column(heading, justify="right")
    for row in at["rows"]:
        cells = [str(row["k"]), f"{row['listed']:.3f}"]
        for tail in TAILS:
            errors = row["tails"][tail]
            cosine = "–" if errors["cosine"] is None else f"{errors['cosine']:.4f}"
            cells += [f"{errors['loss_error']:+z.2%}", f"{errors['norm_ratio']:.3f}", cosine]
        table.add_row(*cells)
    return table


def draw(measured, title, path):
    """A row per temperature; where all classes are listed, only rounding is left, far below the axes of the errors."""
    quantities = {
        "loss_error": "relative error of the loss",
        "gradient_error": "relative error of the gradient",
        "norm_ratio": "length of the gradient, over the dense one's",
        "cosine": "cosine between the gradients",
    }
    figure, axes = plt.subplots(
        len(measured), 4, figsize=(18, 4 * len(measured)), sharex=True, layout="constrained", squeeze=False
    )
    figure.suptitle(title)
    for line, at in zip(axes, measured, strict=True):
        for axis, (key, name) in zip(line, quantities.items(), strict=True):
            for tail, style in zip(TAILS, ("o-", "s--", "^:"), strict=True):
                values = np.array([row["tails"][tail][key] for row in at["rows"]], "float64")  # None becomes NaN: a gap
                values = np.maximum(np.abs(values), 2.0**-23) if key.endswith("error") else values
                axis.plot([row["k"] for row in at["rows"]], values, style, label=tail, markersize=4)
            axis.set_xscale("log", base=2)
            if key.endswith("error"):
                axis.set_yscale("log")
                axis.set_ylim(bottom=3e-4)
            axis.set_title(f"{name}, T = {at['temperature']:g}", fontsize=10)
            axis.grid(alpha=0.3)
    for axis in axes[-1]:
        axis.set_xlabel("k")
    axes[0][0].legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(settings):
    begun = time.perf_counter()
    console = new_console()
    measured = [measure(settings, temperature) for temperature in TEMPERATURES]
    title = "Tails on {backend}: {classes} classes, {examples} examples, seed {seed}".format(**vars(settings))
    console.print(f"[bold]{title}[/]")
    for at in measured:
        console.print(table_of(at))
    console.print(reading(measured), soft_wrap=True)
    draw(measured, title, settings.output / "tails.png")
    record = {"settings": vars(settings) | {"output": str(settings.output)}, "keras": keras.__version__}
    record |= {"exponents": EXPONENTS, "noise": NOISE, "reading": reading(measured), "measured": measured}
    (settings.output / "tails.json").write_text(json.dumps(record, indent=2) + "\n")
    console.print(f"Plot and numbers: tails.png and tails.json in {settings.output}", markup=False, soft_wrap=True)
    console.print(f"Took {time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main(settings)
