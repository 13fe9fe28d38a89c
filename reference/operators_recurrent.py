"""The reference meaning of a recurrent layer's loop, in torch (see TABLE and ir/recurrent.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..ir.recurrent import split_arguments, state_count


def recurrent(attrs: Any, *args: Tensor) -> Tensor | tuple[Tensor, Tensor]:
    """Step through time, forwards or backwards."""
    cell, (projected, weight) = str(attrs["cell"]), args[:2]
    bias, given = split_arguments(cell, args)
    hidden = weight.shape[1]
    zeros = projected.new_zeros(projected.shape[1], hidden)
    states: Sequence[Any] = given or [zeros] * state_count(cell)
    times, found = range(projected.shape[0]), {}
    for time in reversed(times) if attrs["is_reversed"] else times:
        states = _step(cell, projected[time], weight, bias, states)
        found[time] = states[0]
    y = torch.stack([found[time] for time in times])
    return (y, states[1]) if cell == "lstm" else y


def _step(
    cell: str, x: Tensor, weight: Tensor, bias: Any, states: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    if cell == "lstm":
        return _lstm(x + states[0] @ weight.T, states[1])
    if cell == "gru":
        return (_gru(x, weight, states[0]),)
    if cell == "gru_reset_after":
        return (_gru_reset_after(x, states[0] @ weight.T + bias, states[0]),)
    total = x + states[0] @ weight.T
    return (torch.tanh(total) if cell == "rnn_tanh" else torch.relu(total),)


def _lstm(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    i, f, g, o = gates.chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def _gru(x: Tensor, weight: Tensor, h: Tensor) -> Tensor:
    (rx, zx, nx), (rw, zw, nw) = x.chunk(3, -1), weight.chunk(3, 0)
    r, z = torch.sigmoid(rx + h @ rw.T), torch.sigmoid(zx + h @ zw.T)
    return (1 - z) * torch.tanh(nx + (r * h) @ nw.T) + z * h


def _gru_reset_after(x: Tensor, product: Tensor, h: Tensor) -> Tensor:
    (rx, zx, nx), (rh, zh, nh) = x.chunk(3, -1), product.chunk(3, -1)
    r, z = torch.sigmoid(rx + rh), torch.sigmoid(zx + zh)
    return (1 - z) * torch.tanh(nx + r * nh) + z * h
