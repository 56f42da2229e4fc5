"""A teacher asked live, its stored answers, or its probabilities alone? Also against Keras's own `Distiller`, on digits.

A convolutional teacher learns 1280 labelled scans. Small students learn 128 of them: from the labels alone, or from the
labels and the teacher, asked in one of five ways. The setting is one in which a student has something to gain: the
teacher knows ten times as many scans. Whatever differs between seeds (the split, the first weights, the teacher) is the
same for all students of one seed, as are batches and steps.

    python examples/distill_live.py --backend jax
"""

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from _shared import QUANTITIES, Parser, Watch, answer_questions, differences, draw_quantities, new_console, print_answers, spread

FULL = {"seeds": 5, "epochs": 100, "teacher_epochs": 15}
QUICK = {"seeds": 2, "epochs": 8, "teacher_epochs": 2}
TRAINING_SCANS = 1280  # of 1797, the others being the test set
LABELLED = 128
BATCH_SIZE = 32  # divides both: with batches of one shape, each network is compiled once
K = 5  # of 10 classes are kept in the store
EPOCHS_FOR_MEMORY = 3  # the peak is reached in the first


def parse_arguments(arguments=None):
    """The settings, checked before anything slow happens."""
    parser = Parser(__doc__, FULL, QUICK, "distill_live_output")
    parser.add_preset("teacher_epochs", 10_000, "of the teacher")
    parser.add_number("temperature", float, 0.01, 1000, 4.0, "softens the probabilities")
    parser.add_number("label_weight", float, 0, 1, 0.5, "the labels' share of the loss")
    # How this file calls itself: train one student in a process of its own, and say how much memory it took.
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    return parser.settings(arguments, ["sklearn", "pyarrow"])


if __name__ == "__main__":
    settings = parse_arguments()

# What draws, prints and reads the scans is imported where it is needed: the processes whose memory is measured need none.
import keras  # noqa: E402
import numpy as np  # noqa: E402

import keras_xent  # noqa: E402

# ---------------------------------------------------------------------------------------------------- what is learned


def new_teacher():
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Conv2D(64, 3, padding="same", activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(10),  # logits, here and below
        ]
    )


def new_student():
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10),
        ]
    )


class Scans(NamedTuple):
    """What the students of one seed learn from."""

    inputs: np.ndarray
    labels: np.ndarray
    first_weights: list  # of each student
    teacher_weights: list  # for those that ask it live
    probs: np.ndarray  # the teacher's on the inputs, at temperature 1
    store: str  # a directory with its answers on the inputs

    def save(self, path):
        """Into one file, for a process that reads from it what it needs and no more."""
        arrays = {"inputs": self.inputs, "labels": self.labels, "probs": self.probs, "store": self.store}
        for name in ("first_weights", "teacher_weights"):
            arrays |= {f"{name}{i}": part for i, part in enumerate(getattr(self, name))}
        np.savez(path, **arrays)

    @classmethod
    def load(cls, path, with_teacher):
        names = ["first_weights", *(["teacher_weights"] if with_teacher else [])]
        with np.load(path) as file:
            weights = {name: [file[f"{name}{i}"] for i in range(sum(key.startswith(name) for key in file))] for name in names}
            arrays = {name: file[name] for name in ("inputs", "labels", "probs")}
            return cls(**{"teacher_weights": []} | weights | arrays, store=str(file["store"]))


class Lesson(NamedTuple):
    """One way to learn: what is compiled, with which loss, and what `fit` is given."""

    name: str
    with_loss: str
    build: Callable  # from the student, the teacher, scans and settings to a model and its loss
    data: Callable  # from scans and settings
    live: bool = False  # needs the teacher while it trains


def label_loss():
    return keras_xent.SparseCategoricalCrossentropy(from_logits=True)


def scans_and_labels(scans, settings):
    return {"x": scans.inputs, "y": scans.labels, "batch_size": BATCH_SIZE}


def stored(scans, settings):
    return keras_xent.distill.StoredTargets(scans.store, scans.inputs, scans.labels, batch_size=BATCH_SIZE)


def build_live(student, teacher, scans, settings):
    loss = keras_xent.DistillationLoss(settings.temperature, targets="logits")
    distiller = keras_xent.distill.Distiller(
        teacher=teacher, student=student, distillation_loss=loss, label_weight=settings.label_weight
    )
    return distiller, label_loss()


def build_from_probs(student, teacher, scans, settings):
    options = {"label_weight": settings.label_weight, "labels": "sparse"}
    return student, keras_xent.DistillationLoss(settings.temperature, targets="probs", **options)


def build_keras(student, teacher, settings, loss):
    distiller = keras.distillation.Distiller(
        teacher=teacher, student=student, distillation_losses=loss, student_loss_weight=settings.label_weight
    )
    return distiller, keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def build_keras_default(student, teacher, scans, settings):
    return build_keras(student, teacher, settings, keras.distillation.LogitsDistillation())


def build_keras_kl(student, teacher, scans, settings):
    loss = keras.distillation.LogitsDistillation(settings.temperature, keras.losses.KLDivergence())
    return build_keras(student, teacher, settings, loss)


LESSONS = [
    Lesson(
        "labels alone",
        "keras_xent.SparseCategoricalCrossentropy",
        lambda student, teacher, scans, settings: (student, label_loss()),
        scans_and_labels,
    ),
    Lesson("teacher live", "keras_xent.distill.Distiller", build_live, scans_and_labels, live=True),
    Lesson(
        f"teacher stored, its {K} most probable classes",
        "keras_xent.distill.StoredTargets.loss()",
        lambda student, teacher, scans, settings: (
            student,
            stored(scans, settings).loss(label_weight=settings.label_weight),
        ),
        lambda scans, settings: {"x": stored(scans, settings)},
    ),
    Lesson(
        "teacher's probabilities alone",
        'keras_xent.DistillationLoss(targets="probs")',
        build_from_probs,
        lambda scans, settings: {
            "x": scans.inputs,
            "y": keras_xent.pack_targets(scans.probs, scans.labels),
            "batch_size": BATCH_SIZE,
        },
    ),
    Lesson(
        "teacher live, Keras's default",
        "keras.distillation.Distiller, LogitsDistillation()",
        build_keras_default,
        scans_and_labels,
        live=True,
    ),
    Lesson(
        "teacher live, Keras with KLDivergence()",
        "keras.distillation.Distiller, KLDivergence()",
        build_keras_kl,
        scans_and_labels,
        live=True,
    ),
]
LABELS, LIVE, STORED, PROBS, KERAS_DEFAULT, KERAS_KL = range(6)
QUESTIONS = {
    **{f"{LESSONS[row].name}, against labels alone": (row, LABELS) for row in range(1, 6)},
    "teacher stored, against live": (STORED, LIVE),
    "teacher's probabilities alone, against live": (PROBS, LIVE),
    "Keras's default, against keras_xent's Distiller": (KERAS_DEFAULT, LIVE),
    "Keras with KLDivergence(), against keras_xent's Distiller": (KERAS_KL, LIVE),
}

# ----------------------------------------------------------------------------------------------------------- training

# How to compile networks so small that overheads are most of the time; the numbers are the same.
FASTEST = {"jit_compile": keras.backend.backend() == "jax"}


class Network:
    """A student that has the same lesson once per seed, and is compiled once."""

    def __init__(self, lesson, scans, settings):
        self.lesson, self.settings = lesson, settings
        self.student = new_student()
        # Each has a teacher of its own: Keras's `Distiller` freezes the one it is given for good.
        self.teacher = new_teacher() if lesson.live else None
        self.model, loss = lesson.build(self.student, self.teacher, scans, settings)
        self.model.compile(keras.optimizers.Adam(0.003), loss=loss, **FASTEST)
        self.model.optimizer.build(self.model.trainable_variables)
        self.fresh_optimizer = {}
        self.model.optimizer.save_own_variables(self.fresh_optimizer)

    def learn(self, scans, epochs, epoch_is_over=lambda: None):
        """Forgets everything, has the lesson, and says how many seconds an epoch took."""
        self.student.set_weights(scans.first_weights)
        self.model.optimizer.load_own_variables(self.fresh_optimizer)
        if self.teacher is not None:
            self.teacher.set_weights(scans.teacher_weights)
        watch = Watch(epoch_is_over)
        self.model.fit(
            **self.lesson.data(scans, self.settings),
            epochs=epochs,
            shuffle=False,  # the split has shuffled: all students get the same batches
            verbose=0,
            callbacks=[keras.callbacks.LambdaCallback(**watch.events)],
        )
        return watch.median()


def logits_of(model, inputs):
    return keras.ops.convert_to_numpy(model(inputs, training=False))


def test(model, inputs, labels):
    """Accuracy in percent and cross-entropy in nats, on the test set."""
    logits = logits_of(model, inputs)
    losses = keras_xent.reference.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    return {"test_accuracy": 100 * float(np.mean(logits.argmax(axis=-1) == labels)), "test_loss": float(losses.mean())}


def split_scans(seed):
    """Training inputs, test inputs, and their labels."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    inputs, labels = load_digits(return_X_y=True)
    inputs = (inputs / 16).astype("float32").reshape(-1, 8, 8, 1)
    return train_test_split(inputs, labels, train_size=TRAINING_SCANS, stratify=labels, random_state=seed)


def run(settings, work, tell):
    """All students with all seeds: one row each, with one number per seed; and what the teacher did."""
    networks, reports = [], [[] for _ in LESSONS]
    teacher, about_teacher = new_teacher(), []
    for seed in range(settings.seeds):
        inputs, test_inputs, labels, test_labels = split_scans(seed)
        keras.utils.set_random_seed(seed)
        teacher.set_weights(new_teacher().get_weights())
        teacher.compile(keras.optimizers.Adam(0.003), loss=label_loss(), **FASTEST)
        over = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_, seed=seed: tell(f"seed {seed}: the teacher"))
        teacher.fit(
            inputs, labels, batch_size=BATCH_SIZE, epochs=settings.teacher_epochs, shuffle=False, verbose=0, callbacks=[over]
        )
        known, store = inputs[:LABELLED], str(work / f"store {seed}")  # the split has shuffled
        begun = time.perf_counter()
        keras_xent.distill.write_targets(
            teacher, known, store, k=K, temperature=settings.temperature, targets="logits", verbose=False
        )
        seconds = time.perf_counter() - begun
        about_teacher.append(test(teacher, test_inputs, test_labels) | {"seconds_to_store": seconds})
        probs = keras.ops.convert_to_numpy(keras.ops.softmax(logits_of(teacher, known)))
        scans = Scans(known, labels[:LABELLED], new_student().get_weights(), teacher.get_weights(), probs, store)
        if seed == 0:
            scans.save(work / "scans.npz")
            networks = [Network(lesson, scans, settings) for lesson in LESSONS]
        for report, network in zip(reports, networks, strict=True):
            seconds = network.learn(scans, settings.epochs, functools.partial(tell, f"seed {seed}: {network.lesson.name}"))
            report.append(test(network.student, test_inputs, test_labels) | {"seconds_per_epoch": seconds})
    return [by_key(report) for report in reports], by_key(about_teacher)


def by_key(reports):
    """From one dictionary per seed to one dictionary of lists."""
    return {key: [report[key] for report in reports] for key in reports[0]}


# ------------------------------------------------------------------------------------------------------------- memory


def peak_memory():
    """The most that this process ever held, in MiB; None where the system does not say it as Linux does.

    Not `getrusage`, whose maximum begins with what the process held from which this one was started.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), None)


def measure(settings):
    """What the process that trains one student prints: the peak of its memory."""
    lesson = LESSONS[settings.measure]
    scans = Scans.load(settings.output / "scans.npz", lesson.live)
    Network(lesson, scans, settings).learn(scans, min(settings.epochs, EPOCHS_FOR_MEMORY))
    print(json.dumps(peak_memory()))


def measure_all(settings, work, tell):
    """The peak of each student's memory, in a process that trains it and nothing else."""

    def measured(row):
        options = {"measure": row, "output": work, "epochs": settings.epochs, "backend": settings.backend}
        options |= {"temperature": settings.temperature, "label-weight": settings.label_weight}
        command = [sys.executable, __file__, *(f"--{name}={value}" for name, value in options.items())]
        finished = subprocess.run(command, capture_output=True, text=True)
        if finished.returncode:
            raise RuntimeError(f"The process of {LESSONS[row].name!r} failed:\n{finished.stderr}")
        tell(f"memory: {LESSONS[row].name}")
        return json.loads(finished.stdout.splitlines()[-1])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(measured, range(len(LESSONS))))


# -------------------------------------------------------------------------------------------------- what was measured


def table_of(rows, teacher, title):
    """Means and deviations; below them, of the differences to the student of the same seed that has labels alone."""
    from rich.table import Table

    caption = (
        "mean ± standard deviation over the seeds; Δ: paired, to labels alone\n"
        "time: median epoch; memory: peak of a process that trains this student alone, the backend included"
    )
    table = Table(title=title, caption=caption)
    table.add_column("learns from\n[dim]with[/]")
    for heading in (*(q.title for q in QUANTITIES.values()), "ms per\nepoch", "peak\nMiB"):
        table.add_column(heading, justify="right")
    cells = [spread(teacher[key], quantity.decimals) for key, quantity in QUANTITIES.items()]
    table.add_row(f"the teacher, {TRAINING_SCANS} labels", *cells, "", "", end_section=True)
    for index, row in enumerate(rows):
        cells = []
        for key, quantity in QUANTITIES.items():
            change = spread(differences(rows, index, LABELS, key), quantity.decimals, sign="+")
            cells.append(spread(row[key], quantity.decimals) + (f"\n[dim]Δ {change}[/]" if index != LABELS else ""))
        memory = "?" if row["peak_mebibytes"] is None else f"{row['peak_mebibytes']:.0f}"
        cells += [f"{1000 * np.median(row['seconds_per_epoch']):.1f}", memory]
        table.add_row(f"{row['name']}\n[dim]{row['with']}[/]", *cells, end_section=True)
    return table


def main(settings):
    from rich.progress import Progress

    begun = time.perf_counter()
    console = new_console()
    epochs = settings.seeds * (settings.teacher_epochs + len(LESSONS) * settings.epochs)
    with tempfile.TemporaryDirectory() as work, Progress(console=console) as progress:
        bar = progress.add_task("", total=epochs + len(LESSONS))
        tell = functools.partial(progress.update, bar, advance=1)
        rows, teacher = run(settings, Path(work), lambda doing: tell(description=doing))
        peaks = measure_all(settings, Path(work), lambda doing: tell(description=doing))
    rows = [
        {"name": lesson.name, "with": lesson.with_loss, **row, "peak_mebibytes": peak}
        for lesson, row, peak in zip(LESSONS, rows, peaks, strict=True)
    ]

    title = (
        "{LABELLED} labelled digits on {backend}; seeds: {seeds}, epochs: {epochs}, temperature: {temperature:g}, "
        "label weight: {label_weight:g}".format(LABELLED=LABELLED, **vars(settings))
    )
    answers = answer_questions(rows, QUESTIONS)
    console.print(table_of(rows, teacher, title))
    print_answers(console, answers)
    seconds = np.median(teacher["seconds_to_store"])
    console.print(f"The teacher answered once for the store, which took {1000 * seconds:.0f} ms.")
    draw_quantities(rows, [f"{row['name']}\n{row['with']}" for row in rows], title, settings.output / "live.png")
    shown = {name: value for name, value in vars(settings).items() if name != "measure"} | {"output": str(settings.output)}
    record = {"settings": shown, "keras": keras.__version__, "teacher": teacher, "rows": rows, "answers": answers}
    (settings.output / "live.json").write_text(json.dumps(record, indent=2) + "\n")
    console.print(f"Plot and numbers: live.png and live.json in {settings.output}", markup=False, soft_wrap=True)
    console.print(f"Took {time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    if settings.measure is None:
        main(settings)
    else:
        measure(settings)
