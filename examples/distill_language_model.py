"""How many of a teacher's words per position does a small language model need? Measured on the text of Python's own help.

A recurrent teacher reads the training topics. A smaller student reads a part of them: alone, with the teacher live over
all words, or with the teacher's 4, 16 or 64 most probable words from a store. Sequences are padded, and padding counts
for nothing. Perplexity is that of the next word, by the label loss alone, on topics that neither has read. One half
of these decides at which epoch a student is judged, the other half judges it. Whatever differs between seeds (the
topics, the part, the first weights, the teacher) is the same for all students of one seed, as are batches and steps.

    python examples/distill_language_model.py --backend jax
"""

import collections
import functools
import json
import pydoc_data.topics
import re
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _shared import Parser, Quantity, Watch, differences, draw_lines, new_console, spread, verdict

FULL = {"seeds": 3, "epochs": 16, "teacher_epochs": 6, "paragraphs": 10_000, "words": 1500}
QUICK = {"seeds": 2, "epochs": 2, "teacher_epochs": 3, "paragraphs": 400, "words": 500}
TEACHER_RATE, STUDENT_RATE = 0.01, 0.02  # of Adam; at a quarter of its rate no student has learned what it can after 20 epochs
LENGTH = 32  # words per sequence; longer paragraphs are cut
BATCH_SIZE = 32
PADDING, BEGIN, UNKNOWN = range(3)  # the ids before those of words
KEPT = (4, 16, 64)


def parse_arguments(arguments=None):
    """The settings, checked before anything slow happens."""
    parser = Parser(__doc__, FULL, QUICK, "distill_language_model_output")
    parser.add_preset("teacher_epochs", 10_000, "of the teacher")
    parser.add_preset("paragraphs", 10_000, "of the text, at most", least=100)
    parser.add_preset("words", 3000, "that have an id of their own", least=2 * KEPT[-1])
    parser.add_number("part", float, 0.05, 1, 0.25, "of the teacher's paragraphs that a student reads")
    parser.add_number("temperature", float, 0.01, 1000, 1.0, "softens the probabilities")
    parser.add_number("label_weight", float, 0, 1, 0.5, "the labels' share of the loss")
    return parser.settings(arguments, ["scipy", "pyarrow"])


if __name__ == "__main__":
    settings = parse_arguments()

import keras  # noqa: E402

import keras_xent  # noqa: E402

# ----------------------------------------------------------------------------------------------------------- the text


def topics(most):
    """The paragraphs of each topic, as lists of words and signs.

    Topics quote one another: a paragraph is kept where it comes first, so that none is both read and held out.
    """
    known, found = set(), []
    for _, text in sorted(pydoc_data.topics.topics.items()):
        paragraphs = (tuple(re.findall(r"\w+|[^\w\s]", paragraph.lower())) for paragraph in re.split(r"\n\s*\n", text))
        new = [words for words in dict.fromkeys(paragraphs) if words and words not in known]
        known.update(new)
        found.append(new)
    step = max(1, -(-len(known) // most))  # thinned out evenly
    return [paragraphs[::step] for paragraphs in found if paragraphs[::step]]


class Text(NamedTuple):
    """Pairs of inputs and labels, which are the inputs' next words, as one seed splits them."""

    teacher: tuple
    student: tuple
    choosing: tuple  # which epoch is best
    judging: tuple


def split_text(seed, settings):
    """A fifth of the words, in whole topics, is held out; it is halved by paragraphs' turns."""
    rng = np.random.default_rng(seed)
    found = topics(settings.paragraphs)
    sizes = np.array([sum(map(len, paragraphs)) for paragraphs in found])
    order = rng.permutation(len(found))
    number = int(np.searchsorted(np.cumsum(sizes[order]), sizes.sum() / 5)) + 1
    held_out = [words for topic in order[:number] for words in found[topic]]
    read = [words for topic in order[number:] for words in found[topic]]
    rng.shuffle(held_out)
    rng.shuffle(read)  # also once and for all: every student gets the same batches
    counts = collections.Counter(word for words in read for word in words)
    frequent = [word for word, _ in counts.most_common(settings.words - UNKNOWN - 1)]
    ids = {word: UNKNOWN + 1 + i for i, word in enumerate(frequent)}
    part = read[: max(1, round(settings.part * len(read)))]
    teacher, student, choosing, judging = (to_arrays(words, ids) for words in (read, part, held_out[::2], held_out[1::2]))
    new = (without(teacher[1], *arrays) for arrays in (choosing, judging))
    return Text(whole_batches(*teacher), whole_batches(*student), *new)


def without(known, inputs, labels):
    """What is held out, without the pieces that some paragraph which was read has in common with another."""
    known = {row.tobytes() for row in known}
    kept = [row.tobytes() not in known for row in labels]
    return inputs[kept], labels[kept]


def whole_batches(*arrays):
    """Without what is left over: with batches of one shape, each network is compiled once."""
    return tuple(array[: max(1, len(array) // BATCH_SIZE) * BATCH_SIZE] for array in arrays)


def to_arrays(paragraphs, ids):
    """Inputs that begin with `BEGIN`, and the next word of each, both padded."""
    numbers = [[ids.get(word, UNKNOWN) for word in words] for words in paragraphs]
    pieces = [words[i : i + LENGTH] for words in numbers for i in range(0, len(words), LENGTH)]
    labels = np.full((len(pieces), LENGTH), PADDING, "int32")
    for row, piece in zip(labels, pieces, strict=True):
        row[: len(piece)] = piece
    inputs = np.concatenate([np.full((len(pieces), 1), BEGIN, "int32"), labels[:, :-1]], axis=1)
    return np.where(labels == PADDING, PADDING, inputs), labels


# ------------------------------------------------------------------------------------------------------------- models


def new_model(words, embedding, units, dropout=0.0):
    """From ids to logits of the next word. The mask of padding goes with them, and each loss heeds it."""
    return keras.Sequential(
        [
            keras.Input((LENGTH,), dtype="int32"),
            keras.layers.Embedding(words, embedding, mask_zero=True),
            keras.layers.Dropout(dropout),
            keras.layers.GRU(units, return_sequences=True),
            keras.layers.Dropout(dropout),
            keras.layers.Dense(words),
        ]
    )


def new_teacher(settings):
    return new_model(settings.words, embedding=96, units=192, dropout=0.3)


def new_student(settings):
    return new_model(settings.words, embedding=32, units=48)


def label_loss():
    return keras_xent.SparseCategoricalCrossentropy(from_logits=True)


def compile_model(model, loss, rate):
    # Nothing is gained on TensorFlow from compiling for a CPU but a long wait.
    model.compile(keras.optimizers.Adam(rate), loss=loss, jit_compile=keras.backend.backend() == "jax")
    model.optimizer.build(model.trainable_variables)


def mean_loss(model, text):
    """The label loss per word, in nats, without padding; perplexity is its exponential."""
    total, at_once = 0.0, 4 * BATCH_SIZE
    for begin in range(0, len(text[0]), at_once):
        inputs, labels = (part[begin : begin + at_once] for part in text)
        rows = [(0, at_once - len(inputs)), (0, 0)]  # of padding: all batches have one shape, which is compiled once
        inputs, labels = (np.pad(part, rows, constant_values=PADDING) for part in (inputs, labels))
        losses = keras_xent.sparse_categorical_crossentropy(
            labels, model.predict_on_batch(inputs), from_logits=True, ignore_class=PADDING
        )
        total += float(keras.ops.sum(losses))
    return total / np.count_nonzero(text[1])


class Judge:
    """After each epoch, asks what the model makes of the topics that are held out; keeps the best one's weights."""

    def __init__(self, model, text):
        self.model, self.text, self.choosing, self.weights = model, text, [], None

    def epoch_is_over(self, epoch, logs=None):
        self.choosing.append(mean_loss(self.model, self.text.choosing))
        if self.choosing[-1] == min(self.choosing):
            self.weights = self.model.get_weights()

    def report(self):
        """Of the epoch that the one half of the topics chose, what the other half says."""
        self.model.set_weights(self.weights)
        loss = mean_loss(self.model, self.text.judging)
        best = int(np.argmin(self.choosing))
        return {"loss": loss, "perplexity": float(np.exp(loss)), "best_epoch": best + 1, "choosing": self.choosing}


def fit(model, judged, text, data, epochs, epoch_is_over):
    """Trains `model`, and reports on `judged`, which is in it."""
    watch, judge = Watch(epoch_is_over), Judge(judged, text)
    events = watch.events, {"on_epoch_end": judge.epoch_is_over}  # in this order: judging is not in the time
    callbacks = [keras.callbacks.LambdaCallback(**part) for part in events]
    model.fit(**data, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks)
    return {**judge.report(), "seconds_per_epoch": watch.median()}


# ----------------------------------------------------------------------------------------------------------- lessons

ALONE, DENSE = "alone", "all words, live"
LESSONS = (ALONE, DENSE, *(f"{k} words, stored" for k in KEPT))
QUESTIONS = {
    **{f"{name}, against alone": (row, 0) for row, name in enumerate(LESSONS) if row},
    **{f"{name}, against all words": (row, 1) for row, name in enumerate(LESSONS) if row > 1},
}


class Network:
    """A student that has the same lesson once per seed, and is compiled once."""

    def __init__(self, name, teacher, store, settings):
        self.name, self.settings = name, settings
        self.model = self.student = new_student(settings)
        loss = label_loss()
        if name == DENSE:
            self.model = keras_xent.distill.Distiller(
                teacher=teacher,
                student=self.student,
                distillation_loss=keras_xent.DistillationLoss(settings.temperature, targets="logits"),
                label_weight=settings.label_weight,
            )
        elif store is not None:  # what it says of its temperature and classes is the same for each seed
            loss = store.loss(labels="sparse", label_weight=settings.label_weight)
        compile_model(self.model, loss, STUDENT_RATE)
        self.fresh_optimizer = {}
        self.model.optimizer.save_own_variables(self.fresh_optimizer)

    def learn(self, text, first_weights, store, epoch_is_over):
        """Forgets everything, has the lesson, and reports how it went."""
        self.student.set_weights(first_weights)
        self.model.optimizer.load_own_variables(self.fresh_optimizer)
        inputs, labels = text.student
        data = {"x": inputs, "y": labels, "batch_size": BATCH_SIZE}
        bytes_per_word = None
        if store is not None:
            data = {"x": keras_xent.distill.StoredTargets(store.path, inputs, labels, batch_size=BATCH_SIZE)}
            bytes_per_word = store.manifest["bytes"] / store.manifest["positions"]
        elif self.name == DENSE:
            bytes_per_word = 4.0 * self.settings.words  # were they stored, in float32
        report = fit(self.model, self.student, text, data, self.settings.epochs, epoch_is_over)
        return {**report, "bytes_per_position": bytes_per_word}


def write_stores(teacher, inputs, directory, settings):
    """One store per k, of the inputs that the student reads; the teacher runs once for each."""
    options = {"temperature": settings.temperature, "targets": "logits", "batch_size": BATCH_SIZE, "verbose": False}
    return [keras_xent.distill.write_targets(teacher, inputs, directory / f"{k}", k=k, **options) for k in KEPT]


def run(settings, work, tell):
    """All students with all seeds: one row each, with one number per seed; and what the teacher did."""
    networks, reports, about_teacher = [], [[] for _ in LESSONS], []
    teacher = new_teacher(settings)
    compile_model(teacher, label_loss(), TEACHER_RATE)
    fresh_optimizer = {}
    teacher.optimizer.save_own_variables(fresh_optimizer)
    for seed in range(settings.seeds):
        text = split_text(seed, settings)
        keras.utils.set_random_seed(seed)
        teacher.set_weights(new_teacher(settings).get_weights())
        teacher.optimizer.load_own_variables(fresh_optimizer)
        data = {"x": text.teacher[0], "y": text.teacher[1], "batch_size": BATCH_SIZE}
        over = functools.partial(tell, f"seed {seed}: the teacher")
        report = fit(teacher, teacher, text, data, settings.teacher_epochs, over)
        begun = time.perf_counter()
        stores = [None, None, *write_stores(teacher, text.student[0], work / f"seed {seed}", settings)]
        words = {"words_read": [int(np.count_nonzero(part[1])) for part in (text.teacher, text.student, text.judging)]}
        about_teacher.append({**report, **words, "seconds_to_store": time.perf_counter() - begun})
        first_weights = new_student(settings).get_weights()
        for row, (name, store) in enumerate(zip(LESSONS, stores, strict=True)):
            if seed == 0:
                networks.append(Network(name, teacher, store, settings))
            over = functools.partial(tell, f"seed {seed}: {name}")
            reports[row].append(networks[row].learn(text, first_weights, store, over))
    return [by_key(report) for report in reports], by_key(about_teacher)


def by_key(reports):
    """From one dictionary per seed to one dictionary of lists."""
    return {key: [report[key] for report in reports] for key in reports[0]}


# -------------------------------------------------------------------------------------------------- what was measured

QUANTITY = Quantity("loss, nats per word", "nats per word", 3, higher_is_better=False)


def answer_questions(rows):
    """What the losses say, in words."""
    return {question: verdict(differences(rows, *pair, "loss"), QUANTITY) for question, pair in QUESTIONS.items()}


def table_of(rows, teacher, title):
    """Means and deviations; below them, of the differences to the student of the same seed that learned alone."""
    from rich.table import Table

    caption = (
        "mean ± standard deviation over the seeds; Δ: paired, to the student alone; on topics that are held out\n"
        "bytes: of every position, padding too; (of all words: if they were stored in float32)\n"
        "time: median epoch, of the student's training alone"
    )
    table = Table(title=title, caption=caption)
    table.add_column("the student learns\nwith the teacher's")
    for heading in ("perplexity", "loss,\nnats per word", "bytes per\nposition", "seconds\nper epoch", "best\nepoch"):
        table.add_column(heading, justify="right")
    for index, row in enumerate([teacher, *rows]):
        cells = []
        for key, decimals in (("perplexity", 1), ("loss", 3)):
            cells.append(spread(row[key], decimals))
            if index > 1:
                cells[-1] += f"\n[dim]Δ {spread(differences(rows, index - 1, 0, key), decimals, sign='+')}[/]"
        size = row.get("bytes_per_position", [None])[0]
        size = "" if size is None else f"{size:.0f}"
        cells += [f"({size})" if row["name"] == DENSE else size, f"{np.median(row['seconds_per_epoch']):.2f}"]
        cells.append(f"{np.median(row['best_epoch']):.0f}")
        table.add_row(row["name"], *cells, end_section=True)
    return table


def draw(rows, teacher, title, path):
    """The loss of each student and seed where it was judged, and over the epochs."""
    import matplotlib

    matplotlib.use("Agg")  # draws into files; needs no display
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 6), layout="constrained")
    figure.suptitle(title)
    shown = [teacher, *rows]
    draw_lines(left, [row["perplexity"] for row in shown], [row["name"] for row in shown])
    left.set_xlabel("perplexity, held out (a colour per seed, bar: mean)")
    for row in rows:
        curve = np.exp(np.mean(row["choosing"], axis=0))
        right.plot(np.arange(1, len(curve) + 1), curve, label=row["name"])
    right.set_yscale("log")
    right.set_xlabel("epoch")
    right.set_ylabel("perplexity on the half that chooses the epoch, mean of the seeds")
    right.grid(alpha=0.3)
    right.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(settings):
    from rich.progress import Progress

    begun = time.perf_counter()
    console = new_console()
    epochs = settings.seeds * (settings.teacher_epochs + len(LESSONS) * settings.epochs)
    with tempfile.TemporaryDirectory() as work, Progress(console=console) as progress:
        bar = progress.add_task("", total=epochs)
        rows, teacher = run(settings, Path(work), lambda doing: progress.update(bar, advance=1, description=doing))
    rows = [{"name": name, **row} for name, row in zip(LESSONS, rows, strict=True)]
    teacher = {"name": "the teacher itself", **teacher}

    title = (
        "Words of Python's help on {backend}; seeds: {seeds}, epochs: {epochs}, classes: {words}, "
        "temperature: {temperature:g}, label weight: {label_weight:g}".format(**vars(settings))
    )
    answers = answer_questions(rows)
    console.print(table_of(rows, teacher, title))
    for question, words in answers.items():
        console.print(f"[bold]{question}[/]: {words}")
    console.print("  [dim](mean of the paired differences ± half its 95% interval, nats per word)[/]")
    read, part, judging = np.mean(teacher["words_read"], axis=0)
    console.print(
        f"The teacher read {read:.0f} words, a student {part:.0f} of them; {judging:.0f} others judged. "
        f"The {len(KEPT)} stores took {np.median(teacher['seconds_to_store']):.1f} s to write."
    )
    draw(rows, teacher, title, settings.output / "language_model.png")
    record = {"settings": vars(settings) | {"output": str(settings.output)}, "keras": keras.__version__}
    record |= {"teacher": teacher, "rows": rows, "answers": answers}
    (settings.output / "language_model.json").write_text(json.dumps(record, indent=2) + "\n")
    names = f"language_model.png and language_model.json in {settings.output}"
    console.print(f"Plot and numbers: {names}", markup=False, soft_wrap=True)
    console.print(f"Took {time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main(settings)
