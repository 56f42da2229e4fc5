"""A plan, carried out: one process per backend for the times, one after the other; one per contender for the memory."""

import importlib.metadata
import os
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .._only_backend import installed
from ..parity.implementations import UsageError
from ..parity.processes import BACKENDS, Child, CrashError, progress_bars
from .plan import QUICK_SECONDS, SECONDS, Plan, planned
from .results import Measurement, Results
from .subjects import SUBJECTS

TASKS = "keras_xent.bench.tasks"
GIVES_BACK = {"TF_ENABLE_ONEDNN_OPTS": "0"}  # with oneDNN, TensorFlow takes memory from a pool of its own, unseen
PATIENCE = 1800.0  # seconds without an answer after which a process is taken to hang: one of 128,000 classes takes minutes


def run(
    losses=None,
    *,
    backends=None,
    sizes=None,
    modes=None,
    dtype: str = "float32",
    device: str = "cpu",
    repeats: int | None = None,
    growth: bool = False,
    memory: bool = True,
    quick: bool = False,
) -> Results:
    """Measures losses beside Keras's built-in ones and those of other libraries: time and memory of loss and gradient.

    ratio = median over rounds of (seconds of a contender / seconds of Keras's), both in one round of one process; a copy is the
    time of x + 1 over the logits. A contender is timed only if value and gradient are those of the definition.

    Args:
        losses: Names of losses, as `keras-xent bench --help` lists them; None: all (with `quick`, four).
        backends: `"tensorflow"`, `"jax"`, `"torch"`; None: all that are installed.
        sizes: Such as `"2048x32000"`, or `"2048x256x128000"` for linear losses; None: each loss has its own.
        modes: `"graph"`, `"xla"` and `"eager"` on TensorFlow, `"jit"` and `"eager"` on JAX, `"eager"` and `"compile"` on PyTorch;
            None: graph and xla, jit, eager.
        dtype: Of predictions: `"float32"`, `"bfloat16"` or `"float16"`.
        device: `"cpu"` or `"gpu"`.
        repeats: The number of rounds; None: 3 to 15, as many as fit into 20 seconds.
        growth: Whether smaller sizes are measured too, to see how time and memory grow.
        memory: Whether memory is measured, which takes a process for each contender.
        quick: Whether a minute is enough: four losses, small sizes, one mode, memory of one loss.

    Returns:
        Results: `.measurements`, `.growth()`, `.to_dict()`, `.to_json()`, `.to_markdown()`, and a table in notebooks.

    Raises:
        ValueError: A name that is not known, a size that fits no loss, a backend that is not installed.

    Differs from Keras:
        Keras has nothing like it.

    Example:
        >>> results = keras_xent.bench.run("sparse", backends=keras.backend.backend(), sizes=["8x5"], repeats=1, memory=False)
        >>> sorted({one.contender for one in results.measurements if one.ratio})[:2]
        ['Keras', 'keras_xent']

    Source:
        Pairing in rounds: Chen and Revels, "Robust benchmarking in noisy environments" (2016), arXiv:1608.04295.
    """
    sizes = [sizes] if isinstance(sizes, str) else sizes
    if not installed("rich"):
        raise UsageError("rich, which shows the progress, is not installed: pip install 'keras_xent[cli]'")
    plan = planned(losses, backends, sizes, modes, dtype, device, repeats, growth, memory, quick)
    return carried_out(plan, "keras_xent.bench.run")


def carried_out(plan: Plan, command: str) -> Results:
    """The results of a plan; progress is shown on standard error."""
    results = Results(command, machine(), notes=[*plan.absent()])
    work = {backend: (plan.groups(backend), plan.peaks(backend)) for backend in plan.modes}
    with progress_bars() as progress:
        bars = {
            backend: progress.add_task(BACKENDS[backend], total=len(groups) + len(peaks))
            for backend, (groups, peaks) in work.items()
        }

        def tell(text):
            if not progress.console.is_terminal:
                progress.console.print(text, highlight=False)

        for backend, (groups, peaks) in work.items():
            begun = time.monotonic()
            with Child(backend, plan.device, patience=PATIENCE, tasks=TASKS) as child:
                time_groups(child, plan, groups, results, lambda done, bar=bars[backend]: progress.advance(bar, done))
            for _ in side_by_side(lambda job, backend=backend: peak(backend, plan, job, results), peaks, plan.device):
                progress.advance(bars[backend])
            tell(f"{BACKENDS[backend]}: done after {time.monotonic() - begun:.0f} s")
    results.compare_memory()
    return results


def side_by_side(measure, jobs, device):
    """Does the jobs, as many at once as there are cores, as memory is not time; yields as each is done."""
    pool = ThreadPoolExecutor(os.cpu_count() if device == "cpu" else 1)
    try:
        for future in [pool.submit(measure, job) for job in jobs]:
            yield future.result()
    finally:  # after an interrupt nothing more is begun
        pool.shutdown(wait=False, cancel_futures=True)


def time_groups(child, plan, groups, results, advance):
    """What one process says of the times."""
    seconds = QUICK_SECONDS if plan.quick else SECONDS
    arguments = {"groups": groups, "dtype": plan.dtype, "device": plan.device, "repeats": plan.repeats, "seconds": seconds}
    try:
        for answer in child.ask("times", **arguments):
            if "setting" in answer:
                results.settings[child.backend] = with_peers(answer["setting"], plan)
                if answer["missing"]:
                    results.crashes.append(f"{BACKENDS[child.backend]}: not run: {answer['missing']}")
            results.measurements += [Measurement(**one) for one in answer.get("measurements", ())]
            advance(answer.get("done", 0))
    except CrashError as error:
        results.crashes.append(str(error))


def with_peers(setting, plan):
    """Also the versions of the libraries that contenders come from."""
    packages = {who.package for loss in plan.losses for who in SUBJECTS[loss].contenders if who.package and who.here}
    packages = {who for who in packages if setting["backend"] in backends_of(who)}
    versions = {package: importlib.metadata.version(package) for package in sorted(packages)}
    return setting | {"versions": setting["versions"] | versions}


def backends_of(package):
    """Where a library's losses run."""
    return {
        backend
        for subject in SUBJECTS.values()
        for who in subject.contenders
        if who.package == package
        for backend in who.backends
    }


def peak(backend, plan, job, results):
    """The memory of one contender, in a process of its own."""
    which = {name: job[name] for name in ("loss", "call", "mode", "contender")}
    with Child(backend, plan.device, patience=PATIENCE, tasks=TASKS, variables=GIVES_BACK) as child:
        try:
            for answer in child.ask("peaks", **job, dtype=plan.dtype, device=plan.device):
                if "bytes" in answer:
                    results.add_memory(answer["size"], answer["bytes"], backend=backend, **which)
        except CrashError as error:
            timed = [one for one in results.measurements if all(getattr(one, name) == value for name, value in which.items())]
            if not any(one.problem for one in timed):  # what fails is told once
                results.crashes.append(f"memory of {job['contender']}, {job['loss']}: {error}")


def machine():
    """What the figures depend on beside the versions."""
    return {
        "system": platform.platform(terse=True),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": memory_gb(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
    }


def processor():
    """Its name, where the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def memory_gb():
    """Of the machine."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9)
    except (ValueError, OSError, AttributeError):
        return 0
