"""What kernels on PyTorch's CPU are written with: rows in blocks, and memory that is not paid for page by page.

Eager PyTorch writes the result of each operation to memory that is new, and the pages of new memory cost more than the
arithmetic. So a kernel works through blocks of rows in memory that it uses again, and the gradient is its only large tensor.
"""

import numpy as np
import torch

BLOCK = 2**22  # so many elements: a block stays in the cache, and its operations are worth sharing between cores


def can_be_worked_through(tensor, axis):
    """Whether a tensor is an eager one on a CPU, its classes last."""
    last = axis == len(tensor.shape) - 1
    return torch.is_tensor(tensor) and last and tensor.device.type == "cpu" and not torch.compiler.is_compiling()


def blocks(rows):
    """Slices of a matrix's rows."""
    size = max(1, BLOCK // max(1, rows.shape[1]))
    return [slice(begin, min(begin + size, len(rows))) for begin in range(0, len(rows), size)]


def empty_like(rows):
    """New memory, in large pages where there are any: NumPy asks for them, PyTorch does not. First use is four times as fast."""
    if not rows.numel():
        return torch.empty_like(rows)
    return torch.from_numpy(np.empty(rows.shape, str(rows.dtype).removeprefix("torch.")))
