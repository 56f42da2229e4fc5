"""Chunks of rows on PyTorch: logits that are made, turned into slopes in place, used and written over; see `slopes.py`.

Each operation of eager PyTorch goes through memory once more, so a chunk is worked through in blocks that fit the cache.
"""

import torch

from .._kernels.torch_rows import Scratch, blocks, empty_like


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
    buffer, scratch = memory(min(size, len(features)), kernel.shape[1], losses), Scratch()
    for begin in range(0, len(features), size):
        rows = slice(begin, min(begin + size, len(features)))
        of_chunk = features[rows].to(kernel.dtype)
        slopes = multiply(of_chunk, kernel, buffer[: len(of_chunk)])
        if bias is not None:
            slopes.add_(bias)
        for block in blocks(slopes) if slopes.device.type == "cpu" else [slice(None)]:
            factors = None if weights is None else weights[rows][block]
            class_weight = operands.class_weight
            losses[rows][block] = work(slopes[block], operands.labels[rows][block], class_weight, plan, factors, scratch)
        if by_features is not None:
            by_features[rows] = multiply(slopes.to(kernel.dtype), kernel.t()).to(features.dtype)
        if by_kernel is not None:
            accumulate(by_kernel, of_chunk.t(), slopes)
        if by_bias is not None:
            by_bias.add_(slopes.sum(0))
    if by_kernel is not None and plan.transposed:
        by_kernel = by_kernel.t()
    return losses, by_features, by_kernel, by_bias


def work(logits, labels, class_weight, plan, factors, scratch):
    """The losses of some rows; `logits` become what `factors` make of the slopes, if they are given."""
    slope_of_cap = None
    if plan.logit_softcap is not None:
        slope_of_cap = None if factors is None else scratch.like(logits, "cap")
        cap(logits, plan.logit_softcap, slope_of_cap, scratch)
    targets = labels[:, None].long()
    top_logit, target_logit = logits.amax(-1, keepdim=True), logits.gather(-1, targets)
    gap = torch.where(target_logit == top_logit, 0.0, top_logit - target_logit)
    share, even = shares(class_weight, targets, logits, plan.label_smoothing)
    depths = expected_depth(logits, top_logit, even, scratch) if plan.label_smoothing else 0.0
    powers = logits.sub_(top_logit).exp_()
    of_target = powers.gather(-1, targets)
    others = powers.scatter_(-1, targets, 0.0).sum(-1, keepdim=True)
    log_total = torch.log1p(others + torch.expm1(-gap))
    mass_of_even = even.sum() if even.ndim else even * logits.shape[1]
    log_sum_exp = top_logit + log_total
    losses = share * (gap + log_total) + depths + mass_of_even * log_total + plan.z_loss * log_sum_exp.square()
    if factors is None:
        return losses[:, 0]
    factors = factors[:, None].to(logits.dtype)
    rise = mass_of_even + 2.0 * plan.z_loss * log_sum_exp
    total = others + of_target
    at_target = rise * (of_target / total) - share * (others / total)
    if plan.label_smoothing:
        powers.mul_((share + rise) / total).sub_(even).mul_(factors)
        at_target = at_target - (even[targets] if even.ndim else even)
    else:
        powers.mul_((share + rise) / total * factors)
    powers.scatter_(-1, targets, at_target * factors)
    if slope_of_cap is not None:
        powers.mul_(slope_of_cap)
    if (factors == 0).any():
        powers.masked_fill_(factors == 0, 0.0)
    return losses[:, 0]


def shares(class_weight, targets, logits, label_smoothing):
    """s_y and e_k."""
    label, even = logits.new_tensor(1.0 - label_smoothing), logits.new_tensor(label_smoothing) / logits.shape[1]
    return (label, even) if class_weight is None else (label * class_weight[targets], even * class_weight)


def cap(logits, logit_softcap, slope, scratch):
    """z = c tanh(u / c), in place; `slope` is filled with 1 - tanh² = 4 q / (1 + q)², q = exp(-2 |u / c|): nothing cancels."""
    if slope is not None:
        torch.abs(logits, out=slope).mul_(-2.0 / logit_softcap).exp_()
        squares = torch.add(slope, 1.0, out=scratch.like(logits, "squares")).square_()
        slope.mul_(4.0).div_(squares)
    logits.div_(logit_softcap).tanh_().mul_(logit_softcap)


def expected_depth(logits, top_logit, even, scratch):
    """Σ_k e_k (m - z_k) for the even share e of the target; a class whose share is 0 contributes nothing, even at logit -inf."""
    depths = torch.sub(top_logit, logits, out=scratch.like(logits, "depths"))
    if not even.ndim:
        return even * depths.sum(-1, keepdim=True)
    depths.masked_fill_(even == 0, 0.0)
    return depths.mul_(even).sum(-1, keepdim=True)


@torch.no_grad()
def top_classes(operands, plan):
    """The class with the largest logit of each row."""
    features, kernel = operands.features, operands.kernel.to(factor_dtype(operands.features))
    kernel = kernel.t() if plan.transposed else kernel
    found = torch.empty(len(features), dtype=torch.int64, device=features.device)
    size = plan.rows(kernel.shape[1], kernel.shape[0], len(features))
    buffer = memory(min(size, len(features)), kernel.shape[1], features.new_empty(0, dtype=wide(features)))
    for begin in range(0, len(features), size):
        of_chunk = features[begin : begin + size].to(kernel.dtype)
        logits = multiply(of_chunk, kernel, buffer[: len(of_chunk)])
        if operands.bias is not None:
            logits.add_(operands.bias.to(logits.dtype))
        if logits.device.type == "cpu":
            found[begin : begin + size] = torch.from_numpy(logits.numpy().argmax(-1))  # PyTorch's own takes ten times as long
        else:
            found[begin : begin + size] = logits.argmax(-1)
    return found


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


def memory(rows, columns, like):
    """New memory of a matrix, in large pages where there are any."""
    shape_only = like.new_empty(()).expand(rows, columns)
    return empty_like(shape_only) if like.device.type == "cpu" else like.new_empty(rows, columns)


def zeros_like_kernel(kernel, dtype):
    """Zeros of the kernel's shape, laid out as it is: the transpose of a table stays one."""
    turned = kernel.t().is_contiguous() and not kernel.is_contiguous()
    shape = kernel.t().shape if turned else kernel.shape
    zeros = memory(shape[0], shape[1], kernel.new_empty(0, dtype=dtype)).zero_()
    return zeros.t() if turned else zeros
