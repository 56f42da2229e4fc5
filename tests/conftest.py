"""Quick compilation, seeded draws and Hypothesis profiles."""

import os

# Tests compile thousands of small programs that run once: without XLA's last optimisations JAX's tests take a third to two
# thirds of the time. `XLA_FLAGS=` in front of pytest compiles as users do. It stands before the import of Keras, as XLA reads
# this when it starts.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false")

import hypothesis
import keras
import numpy as np
import pytest

# JAX compiles every operation anew for every shape
CASES = 4 if keras.backend.backend() == "jax" else 20
hypothesis.settings.register_profile("ci", max_examples=CASES, deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("deep", max_examples=1000, deadline=None, database=None)


def pytest_addoption(parser):
    parser.addoption("--deep", action="store_true", help="many more Hypothesis cases, drawn anew each run")


def pytest_configure(config):
    hypothesis.settings.load_profile("deep" if config.getoption("--deep") else "ci")


@pytest.fixture
def rng():
    """A generator seeded anew for each test."""
    return np.random.default_rng(0)
