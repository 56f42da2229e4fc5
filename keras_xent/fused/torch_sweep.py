"""Chunks of rows on PyTorch: logits that are made, turned into slopes, used and written over."""

import torch


def sweep(operands, plan, weights=None, wants=(True, True, True)):
    """The losses, and with `weights` the gradients of Σ_i weights_i loss_i by what is wanted of features, kernel and bias.

    A weight of 0 removes a row from the gradients, whatever its logits are.
    """
    features, kernel, bias = operands.features, operands.kernel, operands.bias
    losses = features.new_empty(len(features), dtype=wide(features))
    kernel = kernel.to(factor_dtype(features))
    kernel = kernel.t() if plan.transposed else kernel
    bias = None if bias is None else bias.to(losses.dtype)
    by_features = by_kernel = by_bias = None
    if weights is not None:
        by_features = torch.zeros_like(features) if wants[0] else None
        by_kernel = zeros_like_kernel(kernel, losses.dtype) if wants[1] else None
        by_bias = losses.new_zeros(kernel.shape[1]) if wants[2] and bias is not None else None
    size = plan.rows(kernel.shape[1], kernel.shape[0], len(features))
    buffer = losses.new_empty(min(size, len(features)), kernel.shape[1])
    for begin in range(0, len(features), size):
        rows = slice(begin, min(begin + size, len(features)))
        of_chunk = features[rows].to(kernel.dtype)
        logits = make_logits(of_chunk, kernel, bias, out=buffer[: len(of_chunk)])
        targets, factors = tuple(each[rows] for each in operands.targets), None if weights is None else weights[rows]
        losses[rows], slopes = plan.loss.losses_and_slopes(logits, targets, operands.shared, factors)
        if by_features is not None:
            by_features[rows] = multiply(slopes.to(kernel.dtype), kernel.t()).to(features.dtype)
        if by_kernel is not None:
            accumulate(by_kernel, of_chunk.t(), slopes)
        if by_bias is not None:
            by_bias.add_(slopes.sum(0))
    if by_kernel is not None and plan.transposed:
        by_kernel = by_kernel.t()
    return losses, by_features, by_kernel, by_bias


@torch.no_grad()
def top_classes(operands, plan):
    """The class with the largest logit of each row."""
    features, kernel = operands.features, operands.kernel.to(factor_dtype(operands.features))
    kernel = kernel.t() if plan.transposed else kernel
    found = torch.empty(len(features), dtype=torch.int64, device=features.device)
    size = plan.rows(kernel.shape[1], kernel.shape[0], len(features))
    buffer = features.new_empty(min(size, len(features)), kernel.shape[1], dtype=wide(features))
    for begin in range(0, len(features), size):
        of_chunk = features[begin : begin + size].to(kernel.dtype)
        logits = make_logits(of_chunk, kernel, operands.bias, out=buffer[: len(of_chunk)])
        if logits.device.type == "cpu":
            found[begin : begin + size] = torch.from_numpy(logits.numpy().argmax(-1))  # PyTorch's own takes ten times as long
        else:
            found[begin : begin + size] = logits.argmax(-1)
    return found


def make_logits(features, kernel, bias, transposed=False, out=None):
    """x W + b, in a dtype of at least float32."""
    kernel = kernel.t() if transposed else kernel
    logits = multiply(features.to(kernel.dtype), kernel, out)
    return logits if bias is None else logits.add_(bias.to(logits.dtype))


def wide(features):
    """The dtype of sums: half precision is summed in float32."""
    return torch.float32 if features.dtype in (torch.float16, torch.bfloat16) else features.dtype


def factor_dtype(features):
    """The dtype of what is multiplied: an accelerator adds up products of half precision in float32, a CPU is asked to."""
    return features.dtype if features.device.type == "cuda" else wide(features)


def multiply(one, other, out=None):
    """A product of matrices with sums, and a result, in at least float32."""
    if one.dtype == wide(one):
        return torch.mm(one, other, out=out)
    product = torch.mm(one, other, out_dtype=torch.float32)
    return product if out is None else out.copy_(product)


def accumulate(total, one, other):
    """total += one @ other."""
    if one.dtype == total.dtype:
        total.addmm_(one, other)
    else:
        total.add_(multiply(one, other.to(one.dtype)))


def zeros_like_kernel(kernel, dtype):
    """Zeros of the kernel's shape, laid out as it is: the transpose of a table stays one."""
    turned = kernel.t().is_contiguous() and not kernel.is_contiguous()
    shape = kernel.t().shape if turned else kernel.shape
    zeros = kernel.new_zeros(shape, dtype=dtype)
    return zeros.t() if turned else zeros
