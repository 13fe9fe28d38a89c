"""A recurrent layer's loop over time on a CPU: one function for all of its steps.

A step multiplies what the step before it gave by the packed recurrent weight, the sums of one tile
(samples × vectors of hidden units × gates) in registers, and applies the gates to them there. It
reads what the step before gave from the output, so nothing is copied. Several tiles of samples are
shared among threads, each for all steps, so that no thread waits for another.

The input's share of the gates, for all steps at once, is an ordinary dense layer before this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import te
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T
from tvm.tirx import PrimFunc

from ..compute import shape_of
from ..work import Work
from .loop import Loop

NAME = "recurrent"
GATES = {"lstm": 4, "gru": 3, "gru_reset_after": 3, "rnn_tanh": 1, "rnn_relu": 1}
"""How many gates a cell has: its sums for each hidden unit."""


def recurrent(
    projected: te.Tensor,
    weight: te.Tensor,
    hidden_state: te.Tensor | None = None,
    cell_state: te.Tensor | None = None,
    bias: te.Tensor | None = None,
    scales: te.Tensor | None = None,
    *,
    cell: str,
    hidden: int,
    is_reversed: bool,
    register_count: int,
):
    """Run a cell over projected (t, n, gates · hidden), the input's share of its gates.

    `weight` (blocks, hidden, gates, lanes), `scales` of int8 (blocks, gates, lanes) and `bias`
    (gates · hidden), the recurrent one of a GRU that resets after it, are packed by
    `pack.pack_recurrent`; the states (n, hidden) are 0 where they are not given.

    Returns (t, n, hidden), what each step gives, and of an LSTM its last cell state (n, hidden).
    """
    steps, samples, _ = shape_of(projected)
    given = {
        "projected": projected,
        "weight": weight,
        "h": hidden_state,
        "c": cell_state,
        "bias": bias,
        "scales": scales,
    }
    inputs = {name: tensor for name, tensor in given.items() if tensor is not None}
    shapes = [(steps, samples, hidden)] + [(samples, hidden)] * (cell == "lstm")

    def body(ins: Sequence[Any], outs: Sequence[Any]) -> Any:
        held = {name: T.buffer_proxy(buffer) for name, buffer in zip(inputs, ins, strict=True)}
        made = [T.buffer_proxy(buffer) for buffer in outs]
        with IRBuilder() as builder:
            Loop(held, made, cell, is_reversed, register_count).write()
            return builder.get()

    dtypes = ["float32"] * len(shapes)
    return te.extern(shapes, list(inputs.values()), body, dtype=dtypes, name=f"{NAME}_{cell}")


def is_recurrent(function: PrimFunc) -> bool:
    """Whether a function is a loop over time."""
    return str(function.body.block.name_hint).startswith(f"{NAME}_")


def work_of(function: PrimFunc) -> Work:
    """How much a loop computes: of the recurrent weight, at each step."""
    cell = str(function.body.block.name_hint).removeprefix(f"{NAME}_")
    steps, samples, sums = (int(extent) for extent in function.params[0].ty.shape)
    macs = steps * samples * sums * (sums // GATES[cell])
    return Work(kernel=f"{NAME} {cell}", macs_count=macs, performed_macs_count=macs)
