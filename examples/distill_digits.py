"""What do a teacher's softmax outputs add to a few hard labels? Measured on scikit-learn's scans of digits.

A teacher learns 1280 labelled digits; all that is kept of it are its softmax outputs on them. Small students then learn
from a few of the labels, from what the teacher said about the same few inputs, or from what it said about all of them.
Whatever differs between seeds (the split, the few, the first weights, the batches) is the same for all students of one
seed, and all take equally many steps: differences between students are paired.

    python examples/distill_digits.py --backend jax
"""

import dataclasses
import functools
import json
import time
from collections.abc import Callable

from _shared import QUANTITIES, Parser, Watch, answer_questions, differences, draw_quantities, new_console, print_answers, spread

FULL = {"seeds": 5, "epochs": 20}
QUICK = {"seeds": 2, "epochs": 2}
TRAINING_INPUTS = 1280  # of 1797, the others being the test set
BATCH_SIZE = 64  # divides the above: with batches of one shape, each network is compiled once


def parse_arguments(arguments=None):
    """The settings, checked before anything slow happens."""
    parser = Parser(__doc__, FULL, QUICK, "distill_digits_output")
    parser.add_number("labels", int, 10, 1000, 128, "how few")
    parser.add_number("temperature", float, 0.01, 1000, 4.0, "softens the probabilities")
    parser.add_number("label_weight", float, 0, 1, 0.5, "the labels' share of the loss")
    return parser.settings(arguments, ["sklearn"])


if __name__ == "__main__":
    settings = parse_arguments()

import keras  # noqa: E402
import numpy as np  # noqa: E402
from rich.progress import Progress  # noqa: E402
from rich.table import Table  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402

import keras_xent  # noqa: E402

# ---------------------------------------------------------------------------------------------------- what is learned


class Digits:
    """The scans as one seed splits them."""

    def __init__(self, seed, few):
        inputs, labels = load_digits(return_X_y=True)
        self.inputs, self.test_inputs, self.labels, self.test_labels = train_test_split(
            (inputs / 16).astype("float32"), labels, train_size=TRAINING_INPUTS, stratify=labels, random_state=seed
        )
        self.every = np.arange(TRAINING_INPUTS)
        self.few, _ = train_test_split(self.every, train_size=few, stratify=self.labels, random_state=seed)
        # The few come round again until an epoch is as long as over all inputs: all students take as many steps.
        self.few_again = np.resize(self.few, TRAINING_INPUTS)
        self.teacher_probs = None  # until there is a teacher

    def known_labels(self):
        """One-hot labels, all zeros where none is known: the label's part of the loss, -Σ t log p, is 0 there."""
        return np.where(np.isin(self.every, self.few)[:, None], np.eye(10)[self.labels], 0.0)


@dataclasses.dataclass
class Lesson:
    """What one network learns from."""

    source: str
    loss: keras.losses.Loss
    examples: Callable  # from Digits to which inputs are seen, and the target of each
    metric: str | keras.metrics.Metric | None = None
    hidden_layers: tuple = (32,)


def all_lessons(settings):
    """The rows of the table: the teacher, then the students."""
    few, temperature = f"{settings.labels} labels", f"T = {settings.temperature:g}"
    distillation = {"targets": "probs", "temperature": settings.temperature, "label_weight": settings.label_weight}
    accuracy = "sparse_categorical_accuracy"
    return [
        Lesson(
            f"all {TRAINING_INPUTS} labels: the teacher",
            keras_xent.SparseCategoricalCrossentropy(from_logits=True),
            lambda digits: (digits.every, digits.labels),
            accuracy,
            hidden_layers=(256, 256),
        ),
        Lesson(
            few,
            keras_xent.SparseCategoricalCrossentropy(from_logits=True),
            lambda digits: (digits.few_again, digits.labels[digits.few_again]),
            accuracy,
        ),
        Lesson(
            few,
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            lambda digits: (digits.few_again, digits.labels[digits.few_again]),
            accuracy,
        ),
        # Keras's losses have no temperature and take one kind of target: the teacher's probabilities as they are.
        Lesson(
            "teacher on the same inputs, T = 1",
            keras.losses.CategoricalCrossentropy(from_logits=True),
            lambda digits: (digits.few_again, digits.teacher_probs[digits.few_again]),
        ),
        Lesson(
            f"{few} + teacher on the same inputs, {temperature}",
            keras_xent.DistillationLoss(labels="sparse", **distillation),
            lambda digits: (
                digits.few_again,
                keras_xent.pack_targets(digits.teacher_probs, digits.labels)[digits.few_again],
            ),
            keras_xent.distill.on_labels(accuracy),
        ),
        Lesson(
            "teacher on all inputs, T = 1",
            keras.losses.CategoricalCrossentropy(from_logits=True),
            lambda digits: (digits.every, digits.teacher_probs),
        ),
        Lesson(
            f"{few} + teacher on all inputs, {temperature}",
            keras_xent.DistillationLoss(labels="dense", **distillation),
            lambda digits: (digits.every, keras_xent.pack_targets(digits.teacher_probs, digits.known_labels())),
        ),
    ]


TEACHER, LABELS, BUILT_IN_LABELS, BUILT_IN_SAME, SAME, BUILT_IN_ALL, ALL = range(7)  # where `all_lessons` has them
QUESTIONS = {
    "The teacher on the same inputs, against the labels alone": (SAME, LABELS),
    "The teacher on all inputs, against the labels alone": (ALL, LABELS),
    "DistillationLoss on the same inputs, against Keras's loss, without labels and temperature": (SAME, BUILT_IN_SAME),
    "DistillationLoss on all inputs, against Keras's loss, without labels and temperature": (ALL, BUILT_IN_ALL),
}

# ----------------------------------------------------------------------------------------------------------- training

# How to compile networks so small that overheads are most of the time; the numbers are the same.
FASTEST = {
    "tensorflow": {"jit_compile": False, "steps_per_execution": TRAINING_INPUTS // BATCH_SIZE},
    "jax": {"jit_compile": True},
    "torch": {"jit_compile": False},
}


class Network:
    """A network that has the same lesson once per seed, and is compiled once."""

    def __init__(self, lesson):
        self.lesson = lesson
        hidden = [keras.layers.Dense(units, activation="relu") for units in lesson.hidden_layers]
        self.model = keras.Sequential([keras.Input((64,)), *hidden, keras.layers.Dense(10)])  # ends in logits
        self.model.compile(
            keras.optimizers.Adam(0.003),
            loss=lesson.loss,
            metrics=[lesson.metric] if lesson.metric else [],
            **FASTEST[keras.backend.backend()],
        )
        self.model.optimizer.build(self.model.trainable_variables)
        self.fresh_optimizer = {}
        self.model.optimizer.save_own_variables(self.fresh_optimizer)

    def restart(self, seed):
        """Forgets everything; one seed gives all students the same first weights."""
        keras.utils.set_random_seed(seed)
        fresh = keras.models.clone_model(self.model)
        for variable, first_value in zip(self.model.variables, fresh.variables, strict=True):
            variable.assign(first_value)
        self.model.optimizer.load_own_variables(self.fresh_optimizer)

    def learn(self, digits, epochs, epoch_is_over):
        """Has the lesson, and reports how it went."""
        seen, targets = self.lesson.examples(digits)
        watch = Watch(epoch_is_over)
        history = self.model.fit(
            digits.inputs[seen],
            targets,
            batch_size=BATCH_SIZE,
            shuffle=False,  # the split has shuffled: all students get the same batches
            epochs=epochs,
            verbose=0,
            callbacks=[keras.callbacks.LambdaCallback(**watch.events)],
        ).history
        return {
            "source": self.lesson.source,
            "loss": name_of(self.lesson.loss),
            "training_loss": history["loss"],
            "training_accuracy": 100 * history["sparse_categorical_accuracy"][-1] if self.lesson.metric else None,
            "milliseconds_per_epoch": 1000 * watch.median(),
            **self.test(digits),
        }

    def test(self, digits):
        """Accuracy in percent and cross-entropy in nats, on the test set."""
        logits = self.logits(digits.test_inputs)
        losses = keras_xent.reference.sparse_categorical_crossentropy(digits.test_labels, logits, from_logits=True)
        accuracy = float(np.mean(logits.argmax(axis=-1) == digits.test_labels))
        return {"test_accuracy": 100 * accuracy, "test_loss": float(losses.mean())}

    def logits(self, inputs):
        return keras.ops.convert_to_numpy(self.model(inputs, training=False))


def name_of(loss):
    library = "keras_xent" if type(loss).__module__.startswith("keras_xent") else "keras.losses"
    return f"{library}.{type(loss).__name__}"


def run(settings, tell):
    """All lessons with all seeds: one row per lesson, with one number per seed."""
    networks = [Network(lesson) for lesson in all_lessons(settings)]
    reports = [[] for _ in networks]
    for seed in range(settings.seeds):
        digits = Digits(seed, settings.labels)
        for row, network in enumerate(networks):
            network.restart(seed)
            epoch_is_over = functools.partial(tell, f"seed {seed + 1} of {settings.seeds}: {network.lesson.source}")
            reports[row].append(network.learn(digits, settings.epochs, epoch_is_over))
            if row == TEACHER:
                digits.teacher_probs = keras.ops.convert_to_numpy(keras.ops.softmax(network.logits(digits.inputs)))
    rows = [{key: [report[key] for report in of_seeds] for key in of_seeds[0]} for of_seeds in reports]
    return [row | {"source": row["source"][0], "loss": row["loss"][0]} for row in rows]


# -------------------------------------------------------------------------------------------------- what was measured


def differences_to_keras(rows):
    """The largest ones between the built-in loss and ours on the same labels."""
    keys = ("training_loss", *QUANTITIES)
    return {key: float(np.abs(differences(rows, BUILT_IN_LABELS, LABELS, key)).max()) for key in keys}


# ------------------------------------------------------------------------------------------------------------ showing


def table_of(rows, title):
    """Means and deviations; below them, of the differences to the student of the same seed that has labels alone."""
    table = Table(title=title, caption="mean ± standard deviation over the seeds\nΔ: paired, to the first student")
    table.add_column("learns from\n[dim]with the loss[/]")
    for heading in ("accuracy on\nits labels, %", *(q.title for q in QUANTITIES.values()), "ms per\nepoch"):
        table.add_column(heading, justify="right")
    for index, row in enumerate(rows):
        has_labels = None not in row["training_accuracy"]
        cells = [spread(row["training_accuracy"], 2) if has_labels else ""]
        for key, quantity in QUANTITIES.items():
            cells.append(spread(row[key], quantity.decimals))
            if index > LABELS:
                change = spread(differences(rows, index, LABELS, key), quantity.decimals, sign="+")
                cells[-1] += f"\n[dim]Δ {change}[/]"
        cells.append(f"{np.mean(row['milliseconds_per_epoch']):.0f}")
        table.add_row(f"{row['source']}\n[dim]{row['loss']}[/]", *cells, end_section=True)
    return table


def main(settings):
    begun = time.perf_counter()
    console = new_console()
    with Progress(console=console) as progress:
        bar = progress.add_task("", total=len(all_lessons(settings)) * settings.seeds * settings.epochs)
        rows = run(settings, lambda doing: progress.update(bar, advance=1, description=doing))

    title = "Digits on {backend}; seeds: {seeds}, epochs: {epochs}, label weight: {label_weight:g}".format(**vars(settings))
    answers, to_keras = answer_questions(rows, QUESTIONS), differences_to_keras(rows)
    console.print(table_of(rows, title))
    print_answers(console, answers)
    console.print("[bold]keras_xent against keras.losses on the same labels, largest differences[/]")
    console.print(
        "  training loss in any epoch: {training_loss:.1e} nats, test loss: {test_loss:.1e} nats, "
        "test accuracy: {test_accuracy:.2f} points".format(**to_keras)
    )
    draw_quantities(rows, [f"{row['source']}\n{row['loss']}" for row in rows], title, settings.output / "digits.png")
    record = {"settings": vars(settings) | {"output": str(settings.output)}, "keras": keras.__version__, "rows": rows}
    record |= {"answers": answers, "largest_differences_to_keras": to_keras}
    (settings.output / "digits.json").write_text(json.dumps(record, indent=2) + "\n")
    console.print(f"Plot and numbers: digits.png and digits.json in {settings.output}", markup=False, soft_wrap=True)
    console.print(f"Took {time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main(settings)
