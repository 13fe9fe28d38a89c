"""Arrays as tensors and back; NumPy's bfloat16 is ml_dtypes', which torch does not know."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import torch
from torch import Tensor


def to_tensor(array: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """Copy an array, its axes laid out afresh: torch's kernels misread strides of 0."""
    laid_out = np.array(array, order="C")
    if laid_out.dtype.name == "bfloat16":
        return torch.from_numpy(laid_out.view(np.int16)).view(torch.bfloat16).to(device)
    return torch.from_numpy(laid_out).to(device)


def to_array(tensor: Tensor) -> np.ndarray:
    """Give a tensor's values as an array."""
    plain = tensor.detach().cpu().contiguous()
    if plain.dtype == torch.bfloat16:
        return plain.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return plain.numpy()
