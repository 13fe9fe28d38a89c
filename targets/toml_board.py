"""A user's own board from a TOML file; what is not known is refused."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..errors import BoardError
from ..files.read import read_regular
from .board import Affinity, Board

MAX_BOARD_BYTES = 2**20
_ADVICE = "give a board's name or its .toml file"
MAX_TARGET_DEPTH = 8  # of tables in tables; what TVM takes needs two
_KINDS = {"cpu": "llvm", "opencl": "opencl", "cuda": "cuda"}
_FIGURES = (
    "target",
    "core_count",
    "memory_bytes",
    "l1_cache_bytes",
    "l2_cache_bytes",
    "cpu_features",
)
_ENERGY_FIGURES = ("pj_per_mac_fp32", "pj_per_mac_int8", "pj_per_byte_dram", "idle_w")


def load_board(path: Path) -> Board:
    """Read one board: the keys are Board's fields, `target`, `energy` and `sources` are tables.

    Raises:
        BoardError: the file cannot be read, or a key is unknown, missing or out of range.

    """
    try:
        text = read_regular(path, BoardError, _ADVICE, most_bytes=MAX_BOARD_BYTES).decode()
        board = msgspec.convert(tomllib.loads(text), Board)
    except UnicodeDecodeError as error:
        raise BoardError(f"{path} is not UTF-8, so it is no TOML: {error}") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BoardError(f"{path}: not TOML: {error}") from error
    except (msgspec.ValidationError, ValueError, OverflowError) as error:
        raise BoardError(f"{path}: {error}; see docs/architecture.md for a board's keys") from error
    for fault in faults(board):
        raise BoardError(f"{path}: {fault}")
    return board


def faults(board: Board) -> tuple[str, ...]:
    """Return what contradicts itself or lacks its source in a board; empty where all is well."""
    return (*_target_faults(board), *_affinity_faults(board), *_source_faults(board))


def _target_faults(board: Board) -> tuple[str, ...]:
    if depth_of(board.target) > MAX_TARGET_DEPTH:
        return (f"target is nested more than {MAX_TARGET_DEPTH} deep",)
    if (odd := next(_odd_values(board.target), None)) is not None:
        return (f"target holds {odd!r}; give texts, finite numbers, true or false",)
    kind = _KINDS[board.device]
    if board.target.get("kind") != kind:
        return (f"target.kind must be {kind!r} for device {board.device!r}",)
    host = board.target if board.device == "cpu" else board.target.get("host")
    if not isinstance(host, dict):
        return ("target.host is missing: a table with the host's kind, mtriple and mcpu",)
    if not str(host.get("mtriple", "")).startswith(board.architecture):
        return (f"mtriple must start with {board.architecture!r}, the architecture",)
    if board.device == "cpu" and host.get("num-cores") != board.core_count:
        return (f"target.num-cores must be {board.core_count}, the core_count",)
    return ()


def depth_of(value: Any) -> int:
    """How deep lists and tables are nested; not by recursion, which has a limit of its own."""
    depth, level = 0, [value]
    while level := [
        inner
        for outer in level
        if isinstance(outer, Mapping | list)
        for inner in (outer.values() if isinstance(outer, Mapping) else outer)
    ]:
        depth += 1
    return depth


def _odd_values(value: Any) -> Iterator[Any]:
    """What a target cannot hold, such as TOML's dates; to be called where `depth_of` is small."""
    if isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _odd_values(inner)
    elif not isinstance(value, str | int | float) or (
        isinstance(value, float) and not math.isfinite(value)
    ):
        yield value


def _affinity_faults(board: Board) -> tuple[str, ...]:
    cpus = board.affinity.cpus
    if len(set(cpus)) < len(cpus):
        return ("affinity.cpus names a processor twice",)
    if cpus and len(cpus) < board.core_count:
        return (
            f"affinity.cpus has {len(cpus)} processors for {board.core_count} threads; name as "
            "many as core_count, or lower core_count",
        )
    return ()


def _source_faults(board: Board) -> tuple[str, ...]:
    figures = [*_FIGURES]
    if board.affinity != Affinity():
        figures.append("affinity")
    if board.energy is not None:
        figures.extend(f"energy.{name}" for name in _ENERGY_FIGURES)
    missing = [f"sources has no entry for {name!r}" for name in figures if not _has(board, name)]
    unknown = [f"sources names {name!r}, not a figure" for name in set(board.sources) - {*figures}]
    return (*missing, *unknown)


def _has(board: Board, name: str) -> bool:
    return bool(board.sources.get(name, "").strip())
