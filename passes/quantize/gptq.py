"""Round a weight so that the errors of its features cancel in the layer's output.

Before  W (G, O, F), and C = mean x xᵀ (G, F, F) of what it is multiplied with
After   Q, quantized, near the least of tr (W - Q s) C (W - Q s)ᵀ

Feature by feature, those of most power first, each is rounded to the nearest quantized value, and
its error is made up for by the features that are still to come, through C's inverse.

Source  E. Frantar et al., GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
        Transformers, ICLR 2023, section 3 and algorithm 1. Scales are given beforehand, so that
        the order is free for any group size.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...ir.stored_weights import Grid

BLOCK_FEATURES = 128
DAMPING_RATIO = 0.01
"""What is added to C's diagonal, as a share of its mean: the paper's."""


def gptq(weight: np.ndarray, scales: np.ndarray, moment: np.ndarray, grid: Grid) -> np.ndarray:
    """Quantize `weight` to int8 (G, O, F), at the scales (G, O, groups) given."""
    features = weight.shape[-1]
    spread = grid.spread(scales.astype(np.float64), features)
    order = np.argsort(-np.einsum("gff->gf", moment), axis=-1, kind="stable")
    columns = np.broadcast_to(order[:, None, :], weight.shape)
    root = _inverse_root(moment, order)
    left = torch.from_numpy(np.take_along_axis(weight.astype(np.float64), columns, axis=-1))
    scale = torch.from_numpy(np.take_along_axis(spread, columns, axis=-1))
    quantized = torch.empty_like(left)
    for start in range(0, features, BLOCK_FEATURES):
        stop = min(start + BLOCK_FEATURES, features)
        block = slice(start, stop)
        quantized[..., block], errors = _block(
            left[..., block], scale[..., block], root[:, block, block], grid.limit
        )
        left[..., stop:] -= errors @ root[:, block, stop:]
    result = np.empty(weight.shape, np.int8)
    np.put_along_axis(result, columns, quantized.numpy().astype(np.int8), axis=-1)
    return result


def output_error(difference: np.ndarray, moment: np.ndarray) -> float:
    """Return mean |D x|², summed over outputs: D (G, O, F), C (G, F, F)."""
    return max(float(np.sum((difference @ moment) * difference)), 0.0)


def _inverse_root(moment: np.ndarray, order: np.ndarray) -> Tensor:
    """Return upper U with Uᵀ U the inverse of the damped, reordered C.

    A feature that is never there has no errors, and C all zero means plain rounding.
    """
    rows = np.take_along_axis(moment, order[:, :, None], axis=1)
    ordered = torch.from_numpy(np.take_along_axis(rows, order[:, None, :], axis=2))
    power = ordered.diagonal(dim1=1, dim2=2).mean(dim=1)
    damping = torch.where(power > 0, DAMPING_RATIO * power, 1.0)
    damped = ordered + damping[:, None, None] * torch.eye(ordered.shape[-1], dtype=torch.float64)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    return torch.linalg.cholesky(inverse, upper=True)


def _block(left: Tensor, scale: Tensor, root: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """Quantize a block (G, O, f) feature by feature; return errors over U's diagonal, too."""
    left = left.clone()
    quantized, errors = torch.empty_like(left), torch.empty_like(left)
    for i in range(left.shape[-1]):
        nearest = torch.round(left[..., i] / scale[..., i]).clamp(-limit, limit)
        error = (left[..., i] - nearest * scale[..., i]) / root[:, i, i, None]
        left[..., i + 1 :] -= error[..., None] * root[:, None, i, i + 1 :]
        quantized[..., i], errors[..., i] = nearest, error
    return quantized, errors
