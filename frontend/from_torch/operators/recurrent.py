"""LSTM, GRU and RNN: of each layer and direction a dense layer over all steps, then the loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import relax

from ....ir.edit import shape_of
from ....ir.recurrent import recurrent
from ..operator_call import OperatorCall, constant


def loops(cell: str) -> Callable[..., list[relax.Expr]]:
    """Convert a stack of layers of one cell."""

    def convert(
        call: OperatorCall,
        input: relax.Expr,
        hx: relax.Expr | Sequence[relax.Expr],
        params: Sequence[relax.Expr],
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> list[relax.Expr]:
        if train and dropout:
            raise ValueError("its dropout is on; export the network in eval mode (network.eval())")
        if call.dtype != "float32":
            raise ValueError(f"it computes in {call.dtype}; convert it with .float()")
        states = list(hx) if isinstance(hx, Sequence) else [hx]
        directions = 2 if bidirectional else 1
        each = len(params) // (num_layers * directions)
        y = call.permute(input, (1, 0, 2)) if batch_first else input
        last: list[list[relax.Expr]] = [[] for _ in states]
        for layer in range(num_layers):
            made = []
            for direction in range(directions):
                place = layer * directions + direction
                weights = params[place * each : (place + 1) * each]
                begin = _begin(call, states, place)
                result, ends = _loop(call, cell, y, weights, begin, direction == 1)
                made.append(result)
                for row, end in zip(last, ends, strict=True):
                    row.append(end)
            y = made[0] if len(made) == 1 else call.emit(relax.op.concat, made, -1)
        y = call.permute(y, (1, 0, 2)) if batch_first else y
        return [y, *(_stacked(call, row) for row in last)]

    return convert


def _begin(call: OperatorCall, states: Sequence[relax.Expr], index: int) -> list[relax.Expr]:
    """The states of one layer and direction, none of them where all are 0."""
    known = [constant(state) for state in states]
    if all(value is not None and not value.any() for value in known):
        return []
    rows = []
    for state, value in zip(states, known, strict=True):
        if value is not None:
            rows.append(relax.const(value[index], "float32"))
            continue
        cut = call.emit(relax.op.strided_slice, state, [0], [index], [index + 1])
        rows.append(call.emit(relax.op.squeeze, cut, [0]))
    return rows


def _loop(
    call: OperatorCall,
    cell: str,
    x: relax.Expr,
    weights: Sequence[relax.Expr],
    states: Sequence[relax.Expr],
    is_reversed: bool,
) -> tuple[relax.Expr, list[relax.Expr]]:
    """One direction of one layer: what each step gives, and the states after the last one."""
    into, kept, *biases = weights
    steps, samples, width = shape_of(x)
    rows = call.reshape(x, (steps * samples, width))  # one product, not one for each step
    projected = call.emit(relax.op.matmul, rows, call.emit(relax.op.permute_dims, into), "float32")
    bias = None
    if cell == "gru_reset_after":  # its second bias is reset, too
        zeros = relax.op.zeros((shape_of(into)[0],), "float32")
        bias = biases.pop() if biases else call.emit(lambda: zeros)
    for each in biases:
        projected = call.emit(relax.op.add, projected, each)
    projected = call.reshape(projected, (steps, samples, shape_of(into)[0]))
    made = call.emit(
        recurrent, projected, kept, states, cell=cell, is_reversed=is_reversed, bias=bias
    )
    y = call.emit(relax.TupleGetItem, made, 0) if cell == "lstm" else made
    last = 0 if is_reversed else shape_of(y)[0] - 1
    end = call.emit(relax.op.strided_slice, y, [0], [last], [last + 1])
    ends = [call.emit(relax.op.squeeze, end, [0])]
    if cell == "lstm":
        ends.append(call.emit(relax.TupleGetItem, made, 1))
    return y, ends


def _stacked(call: OperatorCall, rows: Sequence[Any]) -> relax.Expr:
    parts = [call.emit(relax.op.expand_dims, row, [0]) for row in rows]
    return parts[0] if len(parts) == 1 else call.emit(relax.op.concat, parts, 0)
