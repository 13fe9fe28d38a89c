"""The steps of a loop over time, and what each cell makes of its gates."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from .tiles import Expr, Load, Row, Tile, TileWriter, gate_sum

_INDEPENDENT_SUMS = 4  # as many as a multiply-add takes cycles
_LEAST_SHARED_MACS = 2**18


class Loop(TileWriter):
    """Writes the loop's statements into the builder that is open."""

    def __init__(
        self,
        inputs: dict[str, Any],
        outputs: Sequence[Any],
        cell: str,
        is_reversed: bool,
        register_count: int,
    ) -> None:
        self.y, self.last_c = outputs[0], outputs[-1]
        self.steps, self.samples, hidden = (int(extent) for extent in self.y.shape)
        super().__init__(inputs, hidden)
        self.cell, self.is_reversed = cell, is_reversed
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
            tile = Tile(
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

    def _step(self, step: Expr, tile: Tile, before: Load | None, scratch: Any) -> None:
        """One step of all hidden units; `before` gives what the step before gave."""
        time = self._time(step)
        if scratch is None:
            is_first = isinstance(step, int)
            self.for_each(tile, lambda part: self._finish(part, time, before, is_first))
            return
        reset, update = scratch
        self.for_each(tile, lambda part: self._reset(part, time, before, reset, update))
        product = None if before is None else lambda s, k: reset[s, k]
        self.for_each(tile, lambda part: self._update(part, time, before, product, update))

    def _finish(self, tile: Tile, time: Expr, before: Load | None, is_first: bool) -> None:
        """One tile of a cell whose gates need nothing of one another's sums."""
        sums = self.sums(tile, range(self.gates), before)
        for part in tile.parts():
            gates = [self.gate(tile, part, time, gate, sums) for gate in range(self.gates)]
            if self.cell == "lstm":
                self._lstm(tile, part, time, gates, is_first)
            elif self.cell == "gru_reset_after":
                self._gru_reset_after(tile, part, time, gates, before)
            else:
                self._plain(tile, part, time, gates[0])

    def _plain(self, tile: Tile, part: Any, time: Expr, gate: Any) -> None:
        apply = tirx.tanh if self.cell == "rnn_tanh" else _relu
        self.store(tile, part, Row(self.y, time), lambda lane: apply(gate_sum(gate, lane)))

    def _lstm(self, tile: Tile, part: Any, time: Expr, gates: Any, is_first: bool) -> None:
        """Gates in the order input, forget, cell, output, as torch has them."""
        known = self.inputs.get("c") if is_first else self.last_c
        old = None if known is None else self.load(tile, part, lambda s, u: known[s, u])
        i, f, g, o = ((lambda lane, pair=pair: gate_sum(pair, lane)) for pair in gates)
        cells = T.buffer_proxy(T.alloc_buffer((self.lanes,), "float32", scope="local"))
        with T.vectorized(0, self.lanes) as lane:
            new = tirx.sigmoid(i(lane)) * tirx.tanh(g(lane))
            cells[lane] = new if old is None else tirx.sigmoid(f(lane)) * old[lane] + new
        self.store(tile, part, self.last_c, lambda lane: cells[lane])
        self.store(
            tile,
            part,
            Row(self.y, time),
            lambda lane: tirx.sigmoid(o(lane)) * tirx.tanh(cells[lane]),
        )

    def _gru_reset_after(
        self, tile: Tile, part: Any, time: Expr, gates: Any, before: Load | None
    ) -> None:
        """Gates in the order reset, update, new; the new one's product is reset with its bias."""
        r, z, (x, product) = gates
        old = None if before is None else self.load(tile, part, before)

        def step(lane: Expr) -> Expr:
            update = tirx.sigmoid(gate_sum(z, lane))
            new = tirx.tanh(x[lane] + tirx.sigmoid(gate_sum(r, lane)) * product(lane))
            return (1.0 - update) * new + (0.0 if old is None else update * old[lane])

        self.store(tile, part, Row(self.y, time), step)

    def _reset(self, tile: Tile, time: Expr, before: Load | None, reset: Any, update: Any) -> None:
        """What a GRU's reset gate leaves of the step before, and its update gate."""
        sums = self.sums(tile, (0, 1), before)
        for part in tile.parts():
            r, z = (self.gate(tile, part, time, gate, sums) for gate in (0, 1))
            self.store(tile, part, update, partial(_sigmoid, z))
            if before is not None:
                old = self.load(tile, part, before)
                self.store(tile, part, reset, partial(_reset, r, old))

    def _update(
        self, tile: Tile, time: Expr, before: Load | None, product: Load | None, update: Any
    ) -> None:
        """A GRU's new value, of what was reset, and what the update gate makes of both."""
        sums = self.sums(tile, (2,), product)
        for part in tile.parts():
            n = self.gate(tile, part, time, 2, sums)
            z = self.load(tile, part, lambda s, u: update[s, u])
            old = None if before is None else self.load(tile, part, before)

            def step(lane: Expr, n: Any = n, z: Any = z, old: Any = old) -> Expr:
                left = 0.0 if old is None else z[lane] * old[lane]
                return (1.0 - z[lane]) * tirx.tanh(gate_sum(n, lane)) + left

            self.store(tile, part, Row(self.y, time), step)


def _sigmoid(gate: Any, lane: Expr) -> Expr:
    return tirx.sigmoid(gate_sum(gate, lane))


def _reset(gate: Any, old: Any, lane: Expr) -> Expr:
    return _sigmoid(gate, lane) * old[lane]


def _relu(x: Expr) -> Expr:
    return tirx.max(x, tirx.const(0.0, "float32"))
