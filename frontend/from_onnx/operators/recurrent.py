"""LSTM, GRU and RNN: of each direction a dense layer over all steps, then the loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import GenericConst
from tvm.relax.frontend.onnx import onnx_frontend

from ....ir.edit import shape_of
from ....ir.recurrent import GATES, recurrent
from ...constants import digest
from ..arguments import Inputs, array, emit, given

_op = relax.op

# ONNX's gates in the order of ours (ir/recurrent.py).
_ORDER = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}  # from iofc, zrh
_ACTIVATIONS: Mapping[str, Mapping[tuple[str, ...], str]] = {
    "LSTM": {("sigmoid", "tanh", "tanh"): "lstm"},
    "GRU": {("sigmoid", "tanh"): "gru"},
    "RNN": {("tanh",): "rnn_tanh", ("relu",): "rnn_relu"},
}
_DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
_PEEPHOLES = 7


@dataclass(frozen=True)
class _Layer:
    """One node, read: its cell, directions, and weights (directions, …) with gates in our order."""

    cell: str
    directions: Sequence[bool]
    into: np.ndarray
    kept: np.ndarray
    biases: np.ndarray

    def weights(self, index: int) -> dict[str, np.ndarray | None]:
        """The weights of one direction; a GRU's second bias apart where it is reset, too."""
        first, second = np.split(self.biases[index], 2)
        apart = self.cell == "gru_reset_after"
        return {
            "input.weight": np.ascontiguousarray(self.into[index].T),
            "input.bias": first if apart else first + second,
            "recurrent.weight": self.kept[index],
            "recurrent.bias": second if apart else None,
        }


def convert(
    operator: str, inputs: Inputs, attrs: dict[str, Any], held: Any, names: dict[bytes, str]
) -> relax.Expr:
    """Give all outputs of a node; `names` takes the names of its weights, by their digest."""
    layer = _read(operator, inputs, attrs, held)
    batch_first = bool(attrs.get("layout", 0))
    x = emit(_op.permute_dims(inputs[0], (1, 0, 2))) if batch_first else inputs[0]
    _check_lengths(inputs, shape_of(x)[0], held)
    given_states = [_state(inputs, index, held) for index in (5, 6)[: 1 + (operator == "LSTM")]]
    results, ends = [], []
    for index, is_reversed in enumerate(layer.directions):
        part = "reverse." if is_reversed and len(layer.directions) > 1 else ""
        made = {
            name: _constant(value, f"{attrs['tvm_custom']['name']}.{part}{name}", names)
            for name, value in layer.weights(index).items()
            if value is not None
        }
        states = _states(given_states, index, batch_first, x, layer.kept.shape[-1])
        y, *last = _loop(layer.cell, x, made, states, is_reversed)
        results.append(y)
        ends.append(last)
    after = 2 if batch_first else 1
    y = _stack(results, 1)
    y = emit(_op.permute_dims(y, (2, 0, 1, 3))) if batch_first else y
    return relax.Tuple([y, *(_stack(part, after - 1) for part in zip(*ends, strict=True))])


def _read(operator: str, inputs: Inputs, attrs: dict[str, Any], held: Any) -> _Layer:
    """Read a node; ValueError or TypeError where it is of a form that is not honoured."""
    if given(inputs, _PEEPHOLES) is not None:
        raise ValueError("it has peepholes (its input P), which are not supported")
    direction = _text(attrs.get("direction", "forward"))
    directions = _DIRECTIONS[direction]
    into, kept, biases = (array(inputs, index, held) for index in (1, 2, 3))
    if into is None or kept is None:
        raise ValueError("it has no weights")
    if biases is None:
        biases = np.zeros((len(directions), 2 * into.shape[1]), np.float32)
    hidden = kept.shape[-1]
    if attrs.get("hidden_size", hidden) != hidden:
        raise ValueError(f"its hidden_size {attrs['hidden_size']} is not its weights' {hidden}")
    cell = _cell(operator, attrs, len(directions))
    wanted = [
        (len(directions), GATES[cell] * hidden, shape_of(inputs[0])[-1]),
        (len(directions), GATES[cell] * hidden, hidden),
        (len(directions), 2 * GATES[cell] * hidden),
    ]
    found = [weight.shape for weight in (into, kept, biases)]
    if found != wanted:
        raise ValueError(f"its weights are {found}, not {wanted}")
    order = _ORDER[operator]
    into, kept = (_reordered(weight, order, 1) for weight in (into, kept))
    return _Layer(cell, directions, into, kept, _reordered(biases, order, 2))


def _cell(operator: str, attrs: dict[str, Any], directions: int) -> str:
    """Name the cell, the same in all directions."""
    cells = _ACTIVATIONS[operator]
    default = next(iter(cells))
    listed = [_text(each).lower() for each in attrs.get("activations", default * directions)]
    size = len(default)
    chosen = {tuple(listed[at : at + size]) for at in range(0, len(listed), size)}
    if len(listed) != size * directions or len(chosen) != 1 or not chosen <= set(cells):
        raise ValueError(
            f"its activations {', '.join(listed)} are not supported; those of each direction must "
            f"be {' or '.join(', '.join(known) for known in cells)}"
        )
    cell = cells[chosen.pop()]
    return "gru_reset_after" if cell == "gru" and attrs.get("linear_before_reset") else cell


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _reordered(weight: np.ndarray, order: Sequence[int], parts: int) -> np.ndarray:
    """Put the gates of each of the `parts` of (directions, parts · gates · hidden, …) in order."""
    shape = weight.shape
    gates = weight.reshape(shape[0], parts, len(order), -1, *shape[2:])
    return np.ascontiguousarray(gates[:, :, list(order)].reshape(shape))


def _check_lengths(inputs: Inputs, steps: int, held: Any) -> None:
    lengths = array(inputs, 4, held)
    if lengths is not None and (lengths != steps).any():
        raise ValueError(
            f"its sequence_lens are {lengths.tolist()}; only whole sequences, of {steps} steps, "
            "are supported"
        )


def _constant(value: np.ndarray, name: str, names: dict[bytes, str]) -> relax.Expr:
    """A weight of that name, unless it equals one that has a name."""
    held = np.ascontiguousarray(value, np.float32)
    names.setdefault(digest(held), name)
    return relax.const(held, "float32")


def _state(inputs: Inputs, index: int, held: Any) -> relax.Expr | None:
    """An initial state, None where it is 0."""
    state = given(inputs, index)
    known = None if state is None else onnx_frontend.get_constant(state, held)
    return None if isinstance(known, GenericConst) and not known.value.numpy().any() else state


def _states(
    states: Sequence[relax.Expr | None], index: int, batch_first: bool, x: relax.Expr, hidden: int
) -> list[relax.Expr]:
    """The states of one direction, none of them where all are 0."""
    if all(state is None for state in states):
        return []
    axis, samples = int(batch_first), shape_of(x)[1]
    rows = []
    for state in states:
        if state is None:
            rows.append(emit(_op.zeros((samples, hidden), "float32")))
            continue
        cut = emit(_op.strided_slice(state, [axis], [index], [index + 1]))
        rows.append(emit(_op.squeeze(cut, [axis])))
    return rows


def _loop(
    cell: str,
    x: relax.Expr,
    weights: dict[str, relax.Expr],
    states: Sequence[relax.Expr],
    is_reversed: bool,
) -> list[relax.Expr]:
    """What each step gives (t, n, hidden), and the states after the last one."""
    steps, samples, width = shape_of(x)
    rows = emit(_op.reshape(x, (steps * samples, width)))  # one product, not one for each step
    product = emit(_op.matmul(rows, weights["input.weight"]))
    gates = emit(_op.add(product, weights["input.bias"]))
    projected = emit(_op.reshape(gates, (steps, samples, shape_of(gates)[-1])))
    made = emit(
        recurrent(
            projected,
            weights["recurrent.weight"],
            states,
            cell=cell,
            is_reversed=is_reversed,
            bias=weights.get("recurrent.bias"),
        )
    )
    y = emit(relax.TupleGetItem(made, 0)) if cell == "lstm" else made
    last = 0 if is_reversed else shape_of(y)[0] - 1
    end = emit(_op.squeeze(emit(_op.strided_slice(y, [0], [last], [last + 1])), [0]))
    return [y, end, *([emit(relax.TupleGetItem(made, 1))] if cell == "lstm" else [])]


def _stack(parts: Sequence[relax.Expr], axis: int) -> relax.Expr:
    rows = [emit(_op.expand_dims(part, [axis])) for part in parts]
    return rows[0] if len(rows) == 1 else emit(_op.concat(rows, axis))
