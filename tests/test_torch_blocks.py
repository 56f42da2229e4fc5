"""Blocks of rows on PyTorch's CPU: shared between threads they give the same, and nothing else of the process changes."""

import contextlib
import subprocess
import sys
import threading

import pytest

import keras_xent

from .backends import BACKEND
from .test_kernels_torch import KL, every_loss, example

if BACKEND == "torch":
    import torch
    from torch.autograd import forward_ad

    from keras_xent._kernels import numpy_rows, torch_blocks, torch_kl

    @pytest.fixture(autouse=True)
    def few_are_enough(monkeypatch):
        """Few logits are computed as many are."""
        monkeypatch.setattr(torch_kl, "A_FEW", 1)
        monkeypatch.setattr(numpy_rows, "A_FEW", 0)

    @pytest.fixture(autouse=True)
    def three_threads():
        before = torch.get_num_threads()
        torch.set_num_threads(3)
        yield
        torch.set_num_threads(before)

    @contextlib.contextmanager
    def shared(monkeypatch, block=40):
        """Few logits are shared as many are."""
        with monkeypatch.context() as patch:
            for name, value in {"BLOCK": block, "BLOCK_OF_THREAD": block, "SHARED": 1, "BLOCKS_PER_THREAD": 1}.items():
                patch.setattr(torch_blocks, name, value)
            yield

    @pytest.fixture
    def seen(monkeypatch):
        """The names of the threads that made blocks."""
        names, take = set(), torch_blocks.Scratch.__init__

        def noted(scratch):
            names.add(threading.current_thread().name)
            take(scratch)

        monkeypatch.setattr(torch_blocks.Scratch, "__init__", noted)
        return names

    # --------------------------------------------------------------------------------------------------- the same numbers

    @pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
    @every_loss
    def test_threads_change_nothing(name, dtype, monkeypatch, seen):
        function, options, y_true, logits = example(name, 3.0, 5, rows=500)
        floats = getattr(torch, dtype)
        y_true = torch.tensor(y_true)
        y_true = y_true.to(floats) if function == KL else y_true
        pull = torch.linspace(0.5, 2.0, len(logits))

        def losses_and_gradient():
            leaf = torch.tensor(logits).to(floats).requires_grad_()
            losses = getattr(keras_xent, function)(y_true, leaf, **options)
            return losses.detach(), *torch.autograd.grad((losses * pull).sum(), leaf)

        with monkeypatch.context() as patch:
            patch.setattr(torch_blocks, "BLOCK", 40)
            alone = losses_and_gradient()
        assert seen == {threading.main_thread().name}
        with shared(monkeypatch):
            together = losses_and_gradient()
        assert any(name.startswith("keras_xent") for name in seen)
        for one, other in zip(alone, together, strict=True):
            torch.testing.assert_close(one, other, rtol=0.0, atol=0.0, equal_nan=True)

    @pytest.mark.parametrize("rows", [1, 7, 8, 9, 100])
    def test_blocks_come_back_in_their_order(rows, monkeypatch):
        matrix = torch.arange(5.0 * rows).reshape(rows, 5)
        with shared(monkeypatch):
            made = torch_blocks.over_blocks(
                lambda block, scratch: scratch.like(matrix[block]).copy_(matrix[block]).clone(), matrix
            )
        assert torch.equal(torch.cat(made), matrix)

    def test_a_linear_loss_is_shared_too(monkeypatch, seen):
        rng = torch.Generator().manual_seed(0)
        features, kernel = torch.randn(200, 6, generator=rng).requires_grad_(), torch.randn(6, 30, generator=rng).requires_grad_()
        labels = torch.randint(0, 30, (200,), generator=rng)

        def losses_and_gradients():
            losses = keras_xent.linear_sparse_categorical_crossentropy(labels, features, kernel, label_smoothing=0.1)
            return losses.detach(), *torch.autograd.grad(losses.square().sum(), (features, kernel))

        alone = losses_and_gradients()
        with shared(monkeypatch):
            together = losses_and_gradients()
        assert any(name.startswith("keras_xent") for name in seen)
        for one, other in zip(alone, together, strict=True):
            torch.testing.assert_close(one, other)

    def test_without_gradients_and_in_inference_mode(monkeypatch):
        """Where memory is written to that belongs to that mode."""
        features, kernel, labels = torch.ones(200, 6), torch.linspace(-1.0, 1.0, 180).reshape(6, 30), torch.arange(200) % 30
        expected = keras_xent.linear_sparse_categorical_crossentropy(labels, features, kernel)
        for mode in (torch.no_grad, torch.inference_mode):
            with shared(monkeypatch), mode():
                losses = keras_xent.linear_sparse_categorical_crossentropy(labels, features, kernel)
                dense = keras_xent.sparse_categorical_crossentropy(labels, features @ kernel, from_logits=True)
            torch.testing.assert_close(losses, expected)
            torch.testing.assert_close(dense, expected)

    @every_loss
    def test_forward_mode(name, monkeypatch):
        """Whose tangents the threads do not see; nor do they try to follow them."""
        function, options, y_true, logits = example(name, 3.0, 5, rows=50)
        y_true, logits = torch.tensor(y_true), torch.tensor(logits)

        def tangent():
            with forward_ad.dual_level():
                losses = getattr(keras_xent, function)(y_true, forward_ad.make_dual(logits, logits.cos()), **options)
                return forward_ad.unpack_dual(losses).tangent

        alone = tangent()
        with shared(monkeypatch):
            torch.testing.assert_close(tangent(), alone, rtol=0.0, atol=0.0)

    # -------------------------------------------------------------------------------------------- what happens to the process

    def test_one_thread_shares_with_nobody(monkeypatch, seen):
        torch.set_num_threads(1)
        with shared(monkeypatch):
            torch_blocks.over_blocks(lambda block, scratch: None, torch.zeros(100, 5))
        assert seen == {threading.main_thread().name}

    def test_few_numbers_are_shared_with_nobody(seen):
        torch_blocks.over_blocks(lambda block, scratch: None, torch.zeros(100, 5))
        assert seen == {threading.main_thread().name}

    def test_other_threads_keep_their_number(monkeypatch):
        """A thread of the team does its operations alone; this one, and threads to come, do not."""
        monkeypatch.setattr(torch_blocks, "teams", {})
        numbers = []
        with shared(monkeypatch):
            of_team = torch_blocks.over_blocks(lambda block, scratch: torch.get_num_threads(), torch.zeros(100, 5))
        assert set(of_team) == {1}
        assert torch.get_num_threads() == 3
        later = threading.Thread(target=lambda: numbers.append(torch.get_num_threads()))
        later.start()
        later.join()
        assert numbers == [3]

    def test_many_cores_are_not_all_taken(monkeypatch, seen):
        monkeypatch.setattr(torch_blocks, "MOST_THREADS", 2)
        torch.set_num_threads(6)
        with shared(monkeypatch):
            torch_blocks.over_blocks(lambda block, scratch: None, torch.zeros(1000, 5))
        assert len(seen) <= 2

    def test_errors_come_out(monkeypatch):
        def fail(block, scratch):
            raise RuntimeError(f"rows {block.start} to {block.stop}")

        with shared(monkeypatch), pytest.raises(RuntimeError, match=r"rows \d+ to \d+"):
            torch_blocks.over_blocks(fail, torch.zeros(100, 5))

    def test_several_callers_at_once(monkeypatch):
        logits, labels = torch.linspace(-3.0, 3.0, 5000).reshape(1000, 5), torch.arange(1000) % 5
        expected = keras_xent.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        found = []

        def call():
            for _ in range(20):
                found.append(keras_xent.sparse_categorical_crossentropy(labels, logits, from_logits=True))

        with shared(monkeypatch):
            callers = [threading.Thread(target=call) for _ in range(4)]
            for caller in callers:
                caller.start()
            for caller in callers:
                caller.join()
        assert len(found) == 80 and all(torch.equal(each, expected) for each in found)

    @pytest.mark.parametrize("used_before", [True, False])
    def test_a_loss_after_the_end_of_the_main_thread(used_before):
        """When no thread can be begun: in a thread that goes on, and in what is called at exit."""
        program = f"""
import atexit, threading, torch
from keras_xent._kernels import torch_blocks
torch.set_num_threads(3)
torch_blocks.SHARED, torch_blocks.BLOCK_OF_THREAD, torch_blocks.BLOCKS_PER_THREAD = 1, 40, 1
begins = lambda: torch_blocks.over_blocks(lambda block, scratch: block.start, torch.zeros(100, 5))
count = lambda: sum(one is not None for one in begins())
if {used_before}:
    count()
def late():
    threading.main_thread().join()
    print("thread", count(), flush=True)
threading.Thread(target=late).start()
atexit.register(lambda: print("exit", count(), flush=True))
"""
        done = subprocess.run([sys.executable, "-c", program], timeout=120, capture_output=True, text=True, check=False)
        assert sorted(done.stdout.split()) == ["13", "13", "exit", "thread"], done.stderr
        assert done.returncode == 0

    def test_a_forked_process_has_threads_of_its_own():
        """It would wait for those of its parent for ever."""
        program = """
import os, sys, torch
from keras_xent._kernels import torch_blocks
torch.set_num_threads(3)
torch_blocks.SHARED = 1
count = lambda: len(torch_blocks.over_blocks(lambda block, scratch: None, torch.zeros(100, 5)))
before = count()
child = os.fork()
if child == 0:
    torch.set_num_threads(2)
    torch_blocks.BLOCK_OF_THREAD, torch_blocks.BLOCKS_PER_THREAD = 40, 1
    os._exit(7 if count() == 13 else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7 and before > 0
"""
        if not hasattr(torch_blocks.os, "fork"):
            assert sys.platform == "win32"
            return
        done = subprocess.run([sys.executable, "-c", program], timeout=120, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
