"""PyTorch."""

import functools

import numpy as np
import torch


def read(x):
    if not torch.is_tensor(x):
        return np.asarray(x)
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return None
    if x.dtype == torch.bfloat16:  # NumPy has none
        x = x.float()
    try:
        return x.detach().numpy()
    except RuntimeError:  # inside torch.func.vmap a tensor stands for many, and has no values of its own
        return None


def fail_unless(ok, values, message, culprits):
    del ok, message, culprits  # raising would have to wait for the device
    return values


def scatter_add(ids, values, num_classes):
    zeros = torch.zeros((*ids.shape[:-1], num_classes), dtype=values.dtype, device=values.device)
    return zeros.scatter_add(-1, ids.long(), values)


def values_and_slopes(function, x, factors):
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        values = function(x)
        (slopes,) = torch.autograd.grad(values, x, factors.to(values.dtype))
    return values.detach(), slopes


def at_once(function, recipe, quantities):
    return function(recipe, quantities)


def is_usual(x):
    return type(x) is torch.Tensor and not x.dtype.is_complex


def plain(x):
    return x


def remembered(function):
    cached = functools.lru_cache(256)(function)

    @functools.wraps(function)
    def looked_up(*arguments):
        # PyTorch's compiler looks through a cache, and warns that it does
        return function(*arguments) if torch.compiler.is_compiling() else cached(*arguments)

    return looked_up


def total(x):
    return x.sum()


def num_replicas():
    return 1  # DistributedDataParallel averages gradients by itself


def mask_of(y_pred):
    mask = getattr(y_pred, "_keras_mask", None) if torch.is_tensor(y_pred) else None
    return None if mask is None else mask.bool()


def carry_mask(losses, mask):
    if not torch.compiler.is_compiling():  # a compiled program hands tensors on without their attributes
        losses._keras_mask = mask
    return losses
