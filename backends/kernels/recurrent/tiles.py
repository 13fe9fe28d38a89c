"""A tile of a recurrent step: its sums in registers, its gates, and how vectors come and go.

The last vector of hidden units may not be whole: it is computed as one, filled up with zeros, and
loaded and stored lane by lane.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ..sixteen_bit import float32_of

Expr = Any
Load = Callable[[Expr, Expr], Expr]


@dataclass(frozen=True, kw_only=True)
class Tile:
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


class TileWriter:
    """Writes statements about tiles into the builder that is open; `inputs` are by name."""

    def __init__(self, inputs: dict[str, Any], hidden: int) -> None:
        self.inputs, self.hidden = inputs, hidden
        _, _, self.gates, self.lanes = (int(extent) for extent in inputs["weight"].shape)

    def for_each(self, tile: Tile, emit: Callable[[Tile], None]) -> None:
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

    def sums(self, tile: Tile, gates: Sequence[int], before: Load | None) -> Any:
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

    def gate(self, tile: Tile, part: tuple[int, int], time: Expr, gate: int, sums: Any) -> Any:
        """A gate's two shares, of the input and of the step before: a vector, and a function."""
        x = self.load(
            tile, part, lambda s, u: self.inputs["projected"][time, s, gate * self.hidden + u]
        )
        bias = self.load(tile, part, self._bias(gate)) if "bias" in self.inputs else None

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

    def load(self, tile: Tile, part: tuple[int, int], value: Load) -> Any:
        """A vector of `value`(sample, unit), zeros beyond the hidden units."""
        vector = T.buffer_proxy(T.alloc_buffer((self.lanes,), "float32", scope="local"))
        if tile.valid < self.lanes:
            with T.vectorized(0, self.lanes) as lane:
                vector[lane] = tirx.const(0.0, "float32")
        with self._valid_lanes(tile) as lane:
            vector[lane] = value(tile.sample + part[0], (tile.block + part[1]) * self.lanes + lane)
        return vector

    def store(
        self, tile: Tile, part: tuple[int, int], buffer: Any, value: Callable[[Expr], Expr]
    ) -> None:
        """Compute a vector and store its hidden units."""
        vector = T.buffer_proxy(T.alloc_buffer((self.lanes,), "float32", scope="local"))
        with T.vectorized(0, self.lanes) as lane:
            vector[lane] = value(lane)
        with self._valid_lanes(tile) as lane:
            buffer[tile.sample + part[0], (tile.block + part[1]) * self.lanes + lane] = vector[lane]

    def _valid_lanes(self, tile: Tile) -> Any:
        if tile.valid < self.lanes:
            return T.serial(0, tile.valid)
        return T.vectorized(0, self.lanes)


@dataclass(frozen=True)
class Row:
    """One step of a buffer (t, n, hidden)."""

    buffer: Any
    time: Expr

    def __setitem__(self, index: tuple[Expr, Expr], value: Expr) -> None:
        self.buffer[self.time, index[0], index[1]] = value


def gate_sum(gate: tuple[Any, Callable[[Expr], Expr]], lane: Expr) -> Expr:
    """Both shares of a gate."""
    x, product = gate
    return x[lane] + product(lane)
