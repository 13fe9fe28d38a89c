"""Networks that a lowering to channels last gets wrong easily; each a few layers of plain torch."""

from __future__ import annotations

import torch
from torch import nn

from .networks import Network


class _Odd(Network):
    """Makes `self.layers` from the subclass's `parts`."""

    parts: dict[str, object]

    def build(self) -> None:
        for name, make in type(self).parts.items():
            value = make()  # type: ignore[operator]
            setattr(self, name, nn.Parameter(value) if isinstance(value, torch.Tensor) else value)


def network(name, forward, shapes=((1, 3, 9, 7),), **parts) -> type[_Odd]:
    members = {
        "input_shapes": shapes,
        "parts": parts,
        "forward": lambda self, *x: forward(self, *x),
    }
    return type(name, (_Odd,), members)


def conv(c_in, c_out, kernel=3, **options):
    return lambda: nn.Conv2d(c_in, c_out, kernel, **options)
