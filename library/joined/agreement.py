"""What libraries must have in common so that one net can run the variants of all."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from ...errors import UsageError
from ..manifest import Manifest
from ..tensors import listed

if TYPE_CHECKING:
    from ..loader import Library


def check_libraries(libraries: Sequence[Library]) -> None:
    """Refuse libraries of different networks, metrics or forms, or of one board: UsageError."""
    for library in libraries:
        _check_one(library)
    for one, other in combinations(libraries, 2):
        _check_two(one, other)


def _check_one(library: Library) -> None:
    if library.manifest.composition is not None:
        raise UsageError(
            f"{library.folder} holds a network in pieces, which runs alone only; compile it "
            "without --segments, or open it alone"
        )
    if library.manifest.network_sha256 is None:
        raise UsageError(
            f"{library.folder} does not say of which network it is, so it cannot be told whether "
            "the others are of the same; compile it anew"
        )


def _check_two(one: Library, other: Library) -> None:
    if one.digest == other.digest:
        raise UsageError(f"{one.folder} and {other.folder} are one library; give each once")
    facts = zip(_facts(one.manifest), _facts(other.manifest), strict=True)
    for (what, here), (_, there) in facts:
        if here != there:
            raise UsageError(
                f"{one.folder} and {other.folder} differ in {what}: {here} and {there}; load "
                "libraries that were compiled from one network with the same options"
            )
    board = one.manifest.board.name
    if board == other.manifest.board.name:
        raise UsageError(
            f"{one.folder} and {other.folder} are both for {board}; load one of them, or compile "
            "one for a board of another name (a .toml file)"
        )


def _facts(manifest: Manifest) -> tuple[tuple[str, str], ...]:
    """What must be the same, as texts."""
    shapes = manifest.signatures
    return (
        ("inputs", "; or ".join(listed(shape.inputs) for shape in shapes)),
        ("outputs", "; or ".join(listed(shape.outputs) for shape in shapes)),
        ("states", _texts([f"{state.input}={state.output}" for state in manifest.states])),
        ("padding", _texts([f"{name} with {by:g}" for name, by in manifest.padding.items()])),
        ("metric", _metric(manifest)),
        ("their dense network's weights", f"SHA-256 {manifest.network_sha256}"),
    )


def _texts(texts: Sequence[str]) -> str:
    return ", ".join(sorted(texts)) or "none"


def _metric(manifest: Manifest) -> str:
    costs = (variant.cost.metric for variant in manifest.variants)
    metric = next((each for each in costs if each is not None), None)
    if metric is None:
        return "none"
    unit = f" in {metric.unit}" if metric.unit else ""
    return f"{metric.name}{unit} ({metric.direction} is better, against {metric.against})"
