"""A small language model with an output of 100,000 words, trained with all logits and without: what does the same curve cost?

The text is that of Python's own help, in which most of 100,000 words do not occur: their logits are made all the same. Each way
runs in a process of its own, from the same first weights, over the same batches: `SparseCategoricalCrossentropy` on the logits,
and `LinearSparseCategoricalCrossentropy` on the features of the same model, split by `keras_xent.fused.split_head`.

    python examples/large_vocab.py --backend torch
"""

import collections
import json
import os
import pydoc_data.topics
import re
import subprocess
import sys
import time

import numpy as np
from _shared import Parser, new_console

FULL = {"words": 100_000, "hidden": 64, "batches": 20, "epochs": 3}
QUICK = {"words": 8_000, "hidden": 16, "batches": 4, "epochs": 2}
WAYS = {"logits": "all logits", "linear": "a chunk at a time"}
BATCH_SIZE, LENGTH = 32, 32


def parse_arguments(arguments=None):
    """The settings, checked before anything slow happens."""
    parser = Parser(__doc__, FULL, QUICK, "large_vocab_output")
    parser.add_preset("words", 1_000_000, "of the output", least=8_000)
    parser.add_preset("hidden", 4096, "features of each position")
    parser.add_preset("batches", 100, f"of {BATCH_SIZE} x {LENGTH} words in an epoch")
    parser.add_argument("--way", choices=WAYS, help="this one alone, in this process; prints JSON")
    settings = parser.settings(arguments)
    os.environ.pop("OMP_NUM_THREADS")  # the output is large enough for threads
    return settings


def text(batches):
    """Words of the text as ids, the more frequent the lower, and the next word of each: (batches, BATCH_SIZE, LENGTH) each."""
    words = re.findall(r"\w+|[^\w\s]", " ".join(topic for _, topic in sorted(pydoc_data.topics.topics.items())).lower())
    ids = {word: number for number, (word, _) in enumerate(collections.Counter(words).most_common())}
    numbers = np.array([ids[word] for word in words], "int32")
    shape = batches, BATCH_SIZE, LENGTH
    count = np.prod(shape)
    if count >= len(numbers):
        raise SystemExit(f"--batches: the text has words for {len(numbers) // (BATCH_SIZE * LENGTH)} batches, not for {batches}")
    return numbers[:count].reshape(shape), numbers[1 : count + 1].reshape(shape)


def held(what):
    """Megabytes of this process in memory now (VmRSS) or at most (VmHWM), where the system tells."""
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) / 1024 for line in file if line.startswith(what))
    except (OSError, StopIteration):
        return None


def trained(settings):
    """One way: the loss of each epoch, seconds per epoch, and the most memory beyond what was held before training."""
    import keras

    import keras_xent

    keras.utils.set_random_seed(0)
    inputs = keras.Input((LENGTH,), dtype="int32")
    features = keras.layers.GRU(settings.hidden, return_sequences=True)(
        keras.layers.Embedding(settings.words, settings.hidden)(inputs)
    )
    model = keras.Model(inputs, keras.layers.Dense(settings.words)(features))
    if settings.way == "linear":
        model, head = keras_xent.fused.split_head(model)
        loss = keras_xent.LinearSparseCategoricalCrossentropy(head)
    else:
        loss = keras_xent.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss)
    x, y = (part.reshape(-1, LENGTH) for part in text(settings.batches))
    before, begun, seconds, losses = held("VmRSS"), time.perf_counter(), [], []
    for epoch in range(settings.epochs):
        history = model.fit(x, y, batch_size=BATCH_SIZE, shuffle=False, verbose=0)
        losses += history.history["loss"]
        seconds.append(time.perf_counter() - begun - sum(seconds))
        print(f"{WAYS[settings.way]}: epoch {epoch + 1} of {settings.epochs}, loss {losses[-1]:.3f}", file=sys.stderr, flush=True)
    most = held("VmHWM")
    return {"loss": losses, "seconds": seconds, "megabytes": None if most is None else most - before}


def run_way(way, arguments):
    """The same in a process of its own."""
    command = [sys.executable, __file__, *arguments, "--way", way]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if run.returncode:
        raise SystemExit(f"{WAYS[way]}: the process ended with exit status {run.returncode}")
    return json.loads(run.stdout.splitlines()[-1])


def print_table(console, results, settings):
    """Side by side."""
    from rich.table import Table

    rows, words = BATCH_SIZE * LENGTH, settings.words
    title = f"{rows} positions x {words} words in a batch, {settings.backend}; their logits: {rows * words * 4 / 2**20:.0f} MB"
    epochs = (f"loss, epoch {i + 1}" for i in range(settings.epochs))
    table = Table("", *epochs, "s per epoch", "MB at most", title=title)
    for way, result in results.items():
        megabytes = "not known here" if result["megabytes"] is None else f"{result['megabytes']:.0f}"
        losses = (f"{loss:.4f}" for loss in result["loss"])
        table.add_row(WAYS[way], *losses, f"{min(result['seconds']):.2f}", megabytes)
    console.print(table)


def draw(results, path):
    """Both curves, and the memory of both."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (curves, memory) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for (way, result), style in zip(results.items(), ("o-", "x--"), strict=True):
        curves.plot(range(1, len(result["loss"]) + 1), result["loss"], style, label=WAYS[way])
    curves.set(xlabel="epoch", ylabel="loss, nats", xticks=range(1, len(result["loss"]) + 1))
    curves.legend()
    memory.bar([WAYS[way] for way in results], [result["megabytes"] or 0 for result in results.values()])
    memory.set_ylabel("MB beyond what is held before training")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main():
    """Trains both ways; prints what they came to."""
    settings = parse_arguments()
    if settings.way:
        print(json.dumps(trained(settings)))
        return
    console = new_console()
    results = {way: run_way(way, sys.argv[1:]) for way in WAYS}
    print_table(console, results, settings)
    gap = max(abs(one - other) for one, other in zip(*(result["loss"] for result in results.values()), strict=True))
    console.print(f"The curves differ by at most {gap:.1e} nats.")
    draw(results, settings.output / "large_vocab.png")
    shown = {name: str(value) if name == "output" else value for name, value in vars(settings).items()}
    (settings.output / "large_vocab.json").write_text(json.dumps({"settings": shown, "results": results}, indent=1))
    console.print(f"Saved: {settings.output / 'large_vocab.json'} and {settings.output / 'large_vocab.png'}")


if __name__ == "__main__":
    main()
