"""A recurrent layer's loop over time on a CPU: one function for all of its steps.

A step multiplies what the step before it gave by the packed recurrent weight, the sums of one tile
(samples × vectors of hidden units × gates) in registers, and applies the gates to them there. It
reads what the step before gave from the output, so nothing is copied. Several tiles of samples are
shared among threads, each for all steps, so that no thread waits for another.

The input's share of the gates, for all steps at once, is an ordinary dense layer before this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tvm import te, tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T
from tvm.tirx import PrimFunc

from .compute import shape_of
from .sixteen_bit import float32_of
from .work import Work

NAME = "recurrent"
GATES = {"lstm": 4, "gru": 3, "gru_reset_after": 3, "rnn_tanh": 1, "rnn_relu": 1}
"""How many gates a cell has: its sums for each hidden unit."""
_INDEPENDENT_SUMS = 4  # as many as a multiply-add takes cycles
_LEAST_SHARED_MACS = 2**18

Expr = Any
Load = Callable[[Expr, Expr], Expr]


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
            _Loop(held, made, cell, is_reversed, register_count).write()
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


@dataclass(frozen=True, kw_only=True)
class _Tile:
    """`samples` from `sample` on, `blocks` vectors of hidden units from `block` on.

    `valid` lanes of the (last) vector hold hidden units.
    """

    sample: Expr
    block: Expr
    samples: int
    blocks: int
    valid: int

    def parts(self) -> list[tuple[int, int]]:
        """Each sample and block in it."""
        return [(s, b) for s in range(self.samples) for b in range(self.blocks)]


class _Loop:
    """Writes the loop's statements into the builder that is open."""

    def __init__(
        self,
        inputs: dict[str, Any],
        outputs: Sequence[Any],
        cell: str,
        is_reversed: bool,
        register_count: int,
    ) -> None:
        self.inputs, self.cell, self.is_reversed = inputs, cell, is_reversed
        self.y, self.last_c = outputs[0], outputs[-1]
        self.steps, self.samples, self.hidden = (int(extent) for extent in self.y.shape)
        _, _, self.gates, self.lanes = (int(extent) for extent in inputs["weight"].shape)
        self.step_samples, self.step_blocks = self._tile_size(register_count)

    def _tile_size(self, register_count: int) -> tuple[int, int]:
        """Samples and blocks in a tile: three quarters of the registers hold sums."""
        most = max(1, register_count * 3 // 4 // self.gates)
        if self.samples >= 4 and self._is_shared():
            most = min(most, self.samples // 2)
        samples = next(n for n in range(min(most, self.samples), 0, -1) if self.samples % n == 0)
        return samples, -(-_INDEPENDENT_SUMS // (samples * self.gates))

    def _is_shared(self) -> bool:
        macs = self.steps * self.samples * self.gates * self.hidden**2
        return macs >= _LEAST_SHARED_MACS

    def write(self) -> None:
        """All steps of each tile of samples."""
        count = self.samples // self.step_samples
        loop = T.parallel if count > 1 and self._is_shared() else T.serial
        with loop(0, count) as index:
            tile = _Tile(
                sample=index * self.step_samples,
                block=0,
                samples=self.step_samples,
                blocks=self.step_blocks,
                valid=self.lanes,
            )
            scratch = self._scratch() if self.cell == "gru" else None
            state = self.inputs.get("h")
            self._step(0, tile, None if state is None else lambda s, k: state[s, k], scratch)
            if self.steps > 1:
                with T.serial(1, self.steps) as step:
                    before = self._time(step - 1)
                    self._step(step, tile, lambda s, k: self.y[before, s, k], scratch)

    def _time(self, step: Expr) -> Expr:
        return self.steps - 1 - step if self.is_reversed else step

    def _scratch(self) -> tuple[Any, Any]:
        """Where a GRU that resets before its product keeps what is reset, and its update gate."""
        shape = (self.samples, -(-self.hidden // self.lanes) * self.lanes)
        reset, update = (T.alloc_buffer(shape, "float32", scope="global") for _ in range(2))
        return T.buffer_proxy(reset), T.buffer_proxy(update)

    def _step(self, step: Expr, tile: _Tile, before: Load | None, scratch: Any) -> None:
        """One step of all hidden units; `before` gives what the step before gave."""
        time = self._time(step)
        if scratch is None:
            is_first = isinstance(step, int)
            self._for_each(tile, lambda part: self._finish(part, time, before, is_first))
            return
        reset, update = scratch
        self._for_each(tile, lambda part: self._reset(part, time, before, reset, update))
        product = None if before is None else lambda s, k: reset[s, k]
        self._for_each(tile, lambda part: self._update(part, time, before, product, update))

    def _for_each(self, tile: _Tile, emit: Callable[[_Tile], None]) -> None:
        """Tiles of whole vectors, what is left of them, and the vector that is not whole."""
        whole, rest = divmod(self.hidden, self.lanes)
        count, left = divmod(whole, tile.blocks)
        if count:
            with T.serial(0, count) as index:
                emit(replace(tile, block=index * tile.blocks))
        if left:
            emit(replace(tile, block=count * tile.blocks, blocks=left))
        if rest:
            emit(replace(tile, block=whole, blocks=1, valid=rest))

    def _finish(self, tile: _Tile, time: Expr, before: Load | None, is_first: bool) -> None:
        """One tile of a cell whose gates need nothing of one another's sums."""
        sums = self._sums(tile, range(self.gates), before)
        for part in tile.parts():
            gates = [self._gate(tile, part, time, gate, sums) for gate in range(self.gates)]
            if self.cell == "lstm":
                self._lstm(tile, part, time, gates, is_first)
            elif self.cell == "gru_reset_after":
                self._gru_reset_after(tile, part, time, gates, before)
            else:
                self._plain(tile, part, time, gates[0])

    def _plain(self, tile: _Tile, part: Any, time: Expr, gate: Any) -> None:
        apply = tirx.tanh if self.cell == "rnn_tanh" else _relu
        self._store(tile, part, self._at(self.y, time), lambda lane: apply(_sum(gate, lane)))

    def _lstm(self, tile: _Tile, part: Any, time: Expr, gates: Any, is_first: bool) -> None:
        """Gates in the order input, forget, cell, output, as torch has them."""
        known = self.inputs.get("c") if is_first else self.last_c
        old = None if known is None else self._load(tile, part, lambda s, u: known[s, u])
        i, f, g, o = ((lambda lane, pair=pair: _sum(pair, lane)) for pair in gates)
        cells = T.buffer_proxy(T.alloc_buffer((self.lanes,), "float32", scope="local"))
        with T.vectorized(0, self.lanes) as lane:
            new = tirx.sigmoid(i(lane)) * tirx.tanh(g(lane))
            cells[lane] = new if old is None else tirx.sigmoid(f(lane)) * old[lane] + new
        self._store(tile, part, self.last_c, lambda lane: cells[lane])
        self._store(
            tile,
            part,
            self._at(self.y, time),
            lambda lane: tirx.sigmoid(o(lane)) * tirx.tanh(cells[lane]),
        )

    def _gru_reset_after(
        self, tile: _Tile, part: Any, time: Expr, gates: Any, before: Load | None
    ) -> None:
        """Gates in the order reset, update, new; the new one's product is reset with its bias."""
        r, z, (x, product) = gates
        old = None if before is None else self._load(tile, part, before)

        def step(lane: Expr) -> Expr:
            update = tirx.sigmoid(_sum(z, lane))
            new = tirx.tanh(x[lane] + tirx.sigmoid(_sum(r, lane)) * product(lane))
            return (1.0 - update) * new + (0.0 if old is None else update * old[lane])

        self._store(tile, part, self._at(self.y, time), step)

    def _reset(self, tile: _Tile, time: Expr, before: Load | None, reset: Any, update: Any) -> None:
        """What a GRU's reset gate leaves of the step before, and its update gate."""
        sums = self._sums(tile, (0, 1), before)
        for part in tile.parts():
            r, z = (self._gate(tile, part, time, gate, sums) for gate in (0, 1))
            self._store(tile, part, update, partial(_sigmoid, z))
            if before is not None:
                old = self._load(tile, part, before)
                self._store(tile, part, reset, partial(_reset, r, old))

    def _update(
        self, tile: _Tile, time: Expr, before: Load | None, product: Load | None, update: Any
    ) -> None:
        """A GRU's new value, of what was reset, and what the update gate makes of both."""
        sums = self._sums(tile, (2,), product)
        for part in tile.parts():
            n = self._gate(tile, part, time, 2, sums)
            z = self._load(tile, part, lambda s, u: update[s, u])
            old = None if before is None else self._load(tile, part, before)

            def step(lane: Expr, n: Any = n, z: Any = z, old: Any = old) -> Expr:
                left = 0.0 if old is None else z[lane] * old[lane]
                return (1.0 - z[lane]) * tirx.tanh(_sum(n, lane)) + left

            self._store(tile, part, self._at(self.y, time), step)

    def _sums(self, tile: _Tile, gates: Sequence[int], before: Load | None) -> Any:
        """The recurrent product of a tile, (samples, blocks, gates, lanes); None where it is 0."""
        if before is None:
            return None
        shape = (tile.samples, tile.blocks, len(gates), self.lanes)
        sums = T.buffer_proxy(T.alloc_buffer(shape, "float32", scope="local"))
        places = [(s, b, g) for s, b in tile.parts() for g in range(len(gates))]
        for s, b, g in places:
            with T.vectorized(0, self.lanes) as lane:
                sums[s, b, g, lane] = tirx.const(0.0, "float32")
        with T.serial(0, self.hidden) as k:
            for s, b, g in places:
                with T.vectorized(0, self.lanes) as lane:
                    weight = self._weight(tile.block + b, k, gates[g], lane)
                    sums[s, b, g, lane] = sums[s, b, g, lane] + before(tile.sample + s, k) * weight
        return {gate: (sums, index) for index, gate in enumerate(gates)}

    def _weight(self, *index: Expr) -> Expr:
        value = self.inputs["weight"][tuple(index)]
        dtype = str(value.ty.dtype)
        return value if dtype == "float32" else float32_of(value, dtype)

    def _gate(self, tile: _Tile, part: tuple[int, int], time: Expr, gate: int, sums: Any) -> Any:
        """A gate's two shares, of the input and of the step before: a vector, and a function."""
        x = self._load(
            tile, part, lambda s, u: self.inputs["projected"][time, s, gate * self.hidden + u]
        )
        bias = self._load(tile, part, self._bias(gate)) if "bias" in self.inputs else None

        def product(lane: Expr) -> Expr:
            total = tirx.const(0.0, "float32")
            if sums is not None:
                held, index = sums[gate]
                total = held[part[0], part[1], index, lane]
                if "scales" in self.inputs:
                    total = total * self.inputs["scales"][tile.block + part[1], gate, lane]
            return total if bias is None else total + bias[lane]

        return x, product

    def _bias(self, gate: int) -> Load:
        return lambda s, u: self.inputs["bias"][gate * self.hidden + u]

    def _at(self, buffer: Any, time: Expr) -> Any:
        return _Row(buffer, time)

    def _load(self, tile: _Tile, part: tuple[int, int], value: Load) -> Any:
        """A vector of `value`(sample, unit), zeros beyond the hidden units."""
        vector = T.buffer_proxy(T.alloc_buffer((self.lanes,), "float32", scope="local"))
        if tile.valid < self.lanes:
            with T.vectorized(0, self.lanes) as lane:
                vector[lane] = tirx.const(0.0, "float32")
        with self._valid_lanes(tile) as lane:
            vector[lane] = value(tile.sample + part[0], (tile.block + part[1]) * self.lanes + lane)
        return vector

    def _store(
        self, tile: _Tile, part: tuple[int, int], buffer: Any, value: Callable[[Expr], Expr]
    ) -> None:
        """Compute a vector and store its hidden units."""
        vector = T.buffer_proxy(T.alloc_buffer((self.lanes,), "float32", scope="local"))
        with T.vectorized(0, self.lanes) as lane:
            vector[lane] = value(lane)
        with self._valid_lanes(tile) as lane:
            buffer[tile.sample + part[0], (tile.block + part[1]) * self.lanes + lane] = vector[lane]

    def _valid_lanes(self, tile: _Tile) -> Any:
        if tile.valid < self.lanes:
            return T.serial(0, tile.valid)
        return T.vectorized(0, self.lanes)


@dataclass(frozen=True)
class _Row:
    """One step of a buffer (t, n, hidden)."""

    buffer: Any
    time: Expr

    def __setitem__(self, index: tuple[Expr, Expr], value: Expr) -> None:
        self.buffer[self.time, index[0], index[1]] = value


def _sum(gate: tuple[Any, Callable[[Expr], Expr]], lane: Expr) -> Expr:
    x, product = gate
    return x[lane] + product(lane)


def _sigmoid(gate: Any, lane: Expr) -> Expr:
    return tirx.sigmoid(_sum(gate, lane))


def _reset(gate: Any, old: Any, lane: Expr) -> Expr:
    return _sigmoid(gate, lane) * old[lane]


def _relu(x: Expr) -> Expr:
    return tirx.max(x, tirx.const(0.0, "float32"))
