"""What is to be measured, where: arguments, checked, become groups for processes."""

from collections.abc import Sequence
from dataclasses import dataclass

from .._only_backend import installed
from ..parity.implementations import UsageError
from ..parity.processes import BACKENDS, gpu_possible
from .contenders import BASELINE
from .sizes import BYTES, Size, growing, parse
from .subjects import EVERY, SUBJECTS

# How a function can be run, as each backend's users do; the first ones unless others are named.
MODES = {"tensorflow": ("graph", "xla", "eager"), "jax": ("jit", "eager"), "torch": ("eager", "compile")}
USUAL = {"tensorflow": ("graph", "xla"), "jax": ("jit",), "torch": ("eager",)}
EVERY_MODE = tuple(dict.fromkeys(mode for modes in MODES.values() for mode in modes))
QUICK = ("sparse", "dense", "distillation", "linear")
SECONDS, QUICK_SECONDS = 20.0, 0.5  # for the rounds of one loss, size and mode
NO_GPU = "there is no GPU here (no device file of NVIDIA or AMD)"


@dataclass(frozen=True)
class Plan:
    """What to measure."""

    losses: tuple[str, ...]
    sizes: dict[str, list[Size]]  # by loss
    modes: dict[str, tuple[str, ...]]  # by backend
    dtype: str
    device: str
    repeats: int | None
    memory: bool
    quick: bool
    without_mode: tuple[str, ...]  # the backends that have none of the wanted modes

    def groups(self, backend):
        """Everything that is timed there, what shares inputs in a row."""
        return [
            {
                "loss": loss,
                "size": str(size),
                "call": "object" if size.small and size.hidden is None else "function",
                "mode": mode,
            }
            for loss in self.losses
            for size in self.sizes[loss]
            for mode in self.modes[backend]
        ]

    def peaks(self, backend):
        """Everything whose memory is measured there, each in a process of its own."""
        if not self.memory:
            return []
        modes = self.modes[backend]
        return [
            {
                "loss": loss,
                "call": "function",
                "mode": mode,
                "contender": who.name,
                "sizes": [str(size) for size in self.sizes[loss] if not size.small],
            }
            for loss in (self.losses[:1] if self.quick else self.losses)
            if not all(size.small for size in self.sizes[loss])
            for mode in (modes[:1] if self.quick else modes)
            for who in SUBJECTS[loss].among(backend, self.device, "function")
            if not self.quick or who.name.startswith(("keras_xent", BASELINE))
        ]

    def absent(self):
        """What is not installed, in words."""
        for backend, name in BACKENDS.items():
            if not installed(backend):
                yield f"{name}: not run: pip install 'keras_xent[{backend}]'"
        for backend in self.without_mode:
            yield f"{BACKENDS[backend]}: not run: it has no such mode (modes: {', '.join(MODES[backend])})"
        lacking = {}
        for loss in self.losses:
            for backend in self.modes:
                for who in SUBJECTS[loss].among(backend, self.device, "function", anywhere=True):
                    if not who.here:
                        lacking[who.package] = BACKENDS[backend]
        if lacking:
            yield "Not installed, and left out: " + ", ".join(f"{package} ({name})" for package, name in lacking.items())
        if self.quick:
            yield "--quick: few losses, small sizes, one mode; figures of larger sizes differ"


def planned(
    losses: Sequence[str] | None = None,
    backends: Sequence[str] | None = None,
    sizes: Sequence[str] | None = None,
    modes: Sequence[str] | None = None,
    dtype: str = "float32",
    device: str = "cpu",
    repeats: int | None = None,
    growth: bool = False,
    memory: bool = True,
    quick: bool = False,
) -> Plan:
    """The plan; a `UsageError` says in one line what cannot be."""
    backends = which("backend", backends or [*filter(installed, BACKENDS)], BACKENDS)
    for backend in backends:
        if not installed(backend):
            raise UsageError(f"{BACKENDS[backend]} is not installed: pip install 'keras_xent[{backend}]'")
    chosen_modes = {backend: names for backend in backends if (names := modes_of(backend, modes, quick))}
    if not chosen_modes:
        listed = "; ".join(f"{BACKENDS[backend]}: {', '.join(MODES[backend])}" for backend in backends)
        raise UsageError(f"there is no such mode on {' or '.join(BACKENDS[one] for one in backends)} (modes: {listed})")
    which("dtype", [dtype], BYTES)
    which("device", [device], ("cpu", "gpu"))
    if device == "gpu" and not gpu_possible():
        raise UsageError(f"nothing to run: {NO_GPU}")
    if repeats is not None and (not isinstance(repeats, int) or repeats < 1):
        raise UsageError(f"repeats={repeats!r}: expected a number from 1")
    wanted = which("loss", losses or (QUICK if quick else SUBJECTS), SUBJECTS)
    try:
        given = [parse(text) for text in sizes or ()]
    except ValueError as error:
        raise UsageError(f"size {error}") from None
    chosen = {}
    for loss in wanted:
        subject = SUBJECTS[loss]
        fit = [size for size in given if (size.hidden is not None) == (subject.space == "linear")]
        if given and not fit:
            if losses:
                form = "NxHxV, such as 2048x256x128000" if subject.space == "linear" else "NxV, such as 2048x32000"
                raise UsageError(f"no size for the loss {loss}: it needs one of the form {form}")
            continue
        fit = fit or list(subject.quick_sizes if quick else subject.sizes)
        if growth and not (quick and chosen):  # in a minute that of the first loss
            fit = [larger for size in fit for larger in ([size] if size.small else growing(size))]
        chosen[loss] = list(dict.fromkeys(fit))
    without_mode = tuple(backend for backend in backends if backend not in chosen_modes)
    return Plan(tuple(chosen), chosen, chosen_modes, dtype, device, repeats, memory, quick, without_mode)


def modes_of(backend, wanted, quick):
    """The modes to run there."""
    if wanted:
        return tuple(mode for mode in MODES[backend] if mode in which("mode", wanted, EVERY_MODE))
    return USUAL[backend][:1] if quick else USUAL[backend]


def which(what, wanted, known):
    """The names, each once; a `UsageError` for one that is not known."""
    wanted = [wanted] if isinstance(wanted, str) else wanted
    for name in wanted:
        if name not in known:
            raise UsageError(f"there is no {what} {name}: choose from {', '.join(known)}")
    return tuple(dict.fromkeys(wanted))


def listing():
    """The losses, each with its words."""
    width = max(map(len, SUBJECTS))
    return "\n".join(f"  {subject.name:<{width}}  {subject.words}" for subject in EVERY)
