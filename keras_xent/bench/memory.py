"""The most memory that a call holds beyond what was there before it, its inputs: for a process that does nothing else.

The call is warm: what its compilation took is not counted, and is given back before.
"""

import contextlib
import ctypes
import gc

from .modes import BACKEND

PEAK, NOW = "VmHWM", "VmRSS"


def extra(run, device):
    """Bytes; None where this system does not tell."""
    c_library("mallopt", -3, 1 << 16)  # M_MMAP_THRESHOLD: whatever is larger is taken from the system, and given back
    run()
    return (on_gpu if device == "gpu" else on_cpu)(run)


def on_cpu(run):
    """From what Linux says of the process: the median of three calls."""
    found = []
    try:
        for _ in range(3):
            give_back()
            prepared = run.prepared()
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")  # the peak is what is held now
            before = held(NOW)
            result = run(prepared)
            found.append(max(0, held(PEAK) - before))
            del result, prepared
    except OSError:
        return None
    return sorted(found)[1]


def give_back():
    """What is free goes back to the system, or the next call would take it unseen."""
    gc.collect()
    c_library("malloc_trim", 0)


def c_library(function, *arguments):
    """Calls a function that only GNU's C library has."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        getattr(ctypes.CDLL(None), function)(*arguments)


def held(what):
    """Bytes of this process in memory, now or at most."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(what):
                return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {what}")


def on_gpu(run):
    """From what the backend says of its allocations; JAX's peak is since the process began."""
    gc.collect()
    prepared = run.prepared()
    if BACKEND == "torch":
        import torch

        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run(prepared)
        return torch.cuda.max_memory_allocated() - before
    if BACKEND == "jax":
        import jax

        device = jax.devices()[0]
        before = device.memory_stats()["bytes_in_use"]
        run(prepared)
        return device.memory_stats()["peak_bytes_in_use"] - before
    import tensorflow as tf

    tf.config.experimental.reset_memory_stats("GPU:0")
    before = tf.config.experimental.get_memory_info("GPU:0")["current"]
    run(prepared)
    return tf.config.experimental.get_memory_info("GPU:0")["peak"] - before
