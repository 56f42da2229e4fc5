"""A pytest plugin: the fixture `parity`, and markers that say on which backends and devices a test compares.

Opt in with `-p keras_xent.pytest_plugin`, or `pytest_plugins = ["keras_xent.pytest_plugin"]` in the topmost conftest.py. There
is no entry point: it would cost every run of pytest an import of Keras.
"""

import sys
from typing import Any

import keras
import pytest

from .parity.assertion import ParityError, assert_parity
from .parity.implementations import UsageError
from .parity.named import described, importable
from .parity.processes import BACKENDS, Child, CrashError, gpu_possible, installed

DEVICES = ("cpu", "gpu")
NOT_RUN = "parity: not run on "
CHILDREN = pytest.StashKey[dict[tuple[str, str | None], Child]]()
MARKERS = {
    "parity_backends(*names)": 'the backends on which the fixture `parity` compares: "tensorflow", "jax", "torch"; each is a '
    "test of its own, in a process of its own unless it is the active backend",
    "parity_devices(*names)": 'the devices: "cpu", "gpu"; each is a test of its own, in a process of its own',
}


def pytest_configure(config):
    """Makes the markers known."""
    for marker, words in MARKERS.items():
        config.addinivalue_line("markers", f"{marker}: {words}.")
    config.stash[CHILDREN] = {}


def pytest_unconfigure(config):
    """Ends the processes."""
    for child in config.stash.get(CHILDREN, {}).values():
        child.close()


def pytest_generate_tests(metafunc):
    """A test per backend and device that its markers name."""
    if "parity" not in metafunc.fixturenames:
        return
    active = keras.backend.backend()
    backends = marked(metafunc.definition, "parity_backends", BACKENDS) or [active]
    devices: list[Any] = marked(metafunc.definition, "parity_devices", DEVICES) or [None]
    places = [(backend, device) for backend in backends for device in devices]
    ids = [backend if device is None else f"{backend}-{device}" for backend, device in places]
    metafunc.parametrize("parity", places, ids=ids, indirect=True)


def marked(item, name, known):
    """What the nearest marker of that name lists."""
    marker = item.get_closest_marker(name)
    if marker is None:
        return []
    names = [*dict.fromkeys(marker.args)]
    wrong = [each for each in names if each not in known]
    if wrong or not names or marker.kwargs:
        given = wrong or marker.kwargs or "nothing"
        raise pytest.UsageError(f"{item.nodeid}: {name} takes one or more of {', '.join(known)}, not {given}")
    return names


@pytest.fixture
def parity(request):
    """`parity(loss, reference, ...)`: `keras_xent.parity.assert_parity` on the backend and device of this test.

    In a process of its own, what is compared has to be importable: named as `"module:Name"`, or defined at the top of a module.
    """
    backend, device = getattr(request, "param", (keras.backend.backend(), None))  # none where a test asks by name
    if not installed(backend):
        pytest.skip(f"{NOT_RUN}{BACKENDS[backend]}: it is not installed here")
    if device == "gpu" and not gpu_possible():
        pytest.skip(f"{NOT_RUN}a GPU: there is none here")
    if device is None and backend == keras.backend.backend():
        return assert_parity
    children = request.config.stash[CHILDREN]
    if (backend, device) not in children:
        children[backend, device] = Child(backend, device)
    child = children[backend, device]

    def elsewhere(loss, reference="definition", **options):
        __tracebackhide__ = True
        try:
            said = [*child.ask("assertion", sys.path, loss=spec(loss), reference=spec(reference), **plain(options))]
        except CrashError as error:
            children.pop((backend, device)).close()
            pytest.fail(str(error), pytrace=False)
        missing = next(answer["missing"] for answer in said if "missing" in answer)
        if missing:
            pytest.skip(f"{NOT_RUN}a GPU: {missing}")
        answer = said[-1]
        if "error" in answer:
            raise {"ParityError": ParityError, "UsageError": UsageError}[answer["error"]](answer["said"])
        return answer["number"]

    return elsewhere


def spec(thing):
    """What another process can find: a name."""
    name = importable(thing)
    if name is None:
        raise UsageError(
            f"{described(thing)} cannot be found by another process: define it at the top of a module, and pass the class or "
            'function, or its name as "module:Name"; or compare on the active backend alone, without `parity_backends` and '
            "`parity_devices`."
        )
    return name


def plain(options):
    """Tensors as arrays: another process has another backend."""
    return keras.tree.map_structure(lambda each: keras.ops.convert_to_numpy(each) if keras.ops.is_tensor(each) else each, options)


def pytest_terminal_summary(terminalreporter):
    """Says what was not run, which a row of dots does not."""
    reasons = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", ()) if isinstance(report.longrepr, tuple)]
    for reason in sorted(set(reasons)):
        if NOT_RUN in reason:
            number = reasons.count(reason)
            terminalreporter.write_line(
                f"{reason.removeprefix('Skipped: ')} ({number} test{'s' if number > 1 else ''})", yellow=True
            )
