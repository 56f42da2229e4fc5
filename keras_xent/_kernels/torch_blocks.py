"""Blocks of rows on PyTorch's CPU: memory that is used again, and threads that take the next block each.

PyTorch shares every operation between its threads, and where the machine holds one of them up all others wait, once for each
operation of each block. So of many numbers a thread takes a whole block and does all operations on it alone.
"""

import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait

import torch
from torch.autograd import forward_ad

BLOCK = 2**19  # so many elements stay in the cache
SHARED = 2**23  # so many are worth handing to threads
BLOCK_OF_THREAD = 2**20  # as a thread goes from block to block alone, and each operation costs it as much
BLOCKS_PER_THREAD = 8  # at least: threads end at about the same time, and their memory is small beside the whole
MOST_THREADS = 16  # more would wait for Python's lock


def over_blocks(work, rows):
    """What `work(block, scratch)` gives for each block of a matrix's rows, in their order: a slice, and a `Scratch`."""
    threads = min(torch.get_num_threads(), MOST_THREADS)
    if rows.numel() < SHARED or threads == 1:
        scratch = Scratch()
        return [work(block, scratch) for block in blocks(rows, BLOCK)]
    todo = blocks(rows, min(BLOCK_OF_THREAD, rows.numel() // (BLOCKS_PER_THREAD * threads)))
    made, places, in_inference = [None] * len(todo), itertools.count(), torch.is_inference_mode_enabled()

    def take_blocks():
        scratch = Scratch()
        # each thread has switches of its own, and what is made here has no derivative
        with torch.inference_mode(in_inference), torch.no_grad(), forward_ad._set_fwd_grad_enabled(False):
            while (place := next(places)) < len(todo):
                made[place] = work(todo[place], scratch)

    turns = []
    try:
        turns += (team(threads).submit(take_blocks) for _ in range(threads))
    except RuntimeError:  # no thread is begun once the interpreter is about to end: this one takes what is left
        take_blocks()
    wait(turns)
    for turn in turns:
        turn.result()  # raises what was raised there
    return made


def is_one_block(rows):
    """Whether all of them stay in the cache."""
    return rows.numel() <= BLOCK


def blocks(rows, size):
    """Slices of a matrix's rows, of about `size` elements each."""
    count = max(1, size // max(1, rows.shape[1]))
    return [slice(begin, min(begin + count, len(rows))) for begin in range(0, len(rows), count)]


class Scratch:
    """Memory for blocks, used again from one block to the next."""

    def __init__(self):
        self.buffers = {}

    def like(self, rows, name="", dtype=None):
        """Some of it, of the shape of a block; another name is other memory."""
        buffer = self.buffers.get(name)
        if buffer is None or len(buffer) < len(rows):
            buffer = self.buffers[name] = rows.new_empty(rows.shape, dtype=dtype)
        return buffer[: len(rows)]


teams = {}
lock = threading.RLock()


def team(threads):
    """So many threads, each of which does its operations alone; they stay, and wait for work."""
    with lock:
        if threads not in teams:
            teams[threads] = assembled(threads)
        return teams[threads]


def assembled(threads):
    """New threads, all of which are there when this returns: none is to set its number while others begin."""
    others, all_there = torch.get_num_threads(), threading.Event()
    pool = ThreadPoolExecutor(threads, "keras_xent", initializer=be_alone)
    try:
        starting = [pool.submit(all_there.wait) for _ in range(threads)]
    finally:
        all_there.set()
    wait(starting)
    torch.set_num_threads(others)  # what a thread sets for itself, threads to come begin with, too
    return pool


def be_alone():
    """This thread's operations are not shared with others."""
    torch.get_num_threads()  # the first time, a thread takes over the number of the others
    torch.set_num_threads(1)


def forget_teams():
    """A forked process has none of its parent's threads."""
    global lock
    lock = threading.RLock()
    teams.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_teams)
