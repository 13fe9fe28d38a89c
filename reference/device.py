"""Where networks run in torch: the one place that chooses a device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def best_device(index: int = 0) -> torch.device:
    """Return the GPU of that index where torch has one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", index % torch.cuda.device_count())
    return torch.device("cpu")


@contextmanager
def full_float32() -> Iterator[None]:
    """Compute float32 in float32: by default cuDNN rounds what convolutions read to TF32."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield
