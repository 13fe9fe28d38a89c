"""Names of variants where several libraries have some of the same name: with their board's."""

from __future__ import annotations

from msgspec.structs import replace

from ..manifest import Manifest

_BETWEEN = ":"
"""Stands in no variant's own name and in no board's."""


def with_board(manifest: Manifest) -> Manifest:
    """Return a manifest whose variants are named with its board: ``host:dense``."""
    board = manifest.board.name
    return replace(
        manifest,
        plainest=_name(board, manifest.plainest),
        variants=tuple(
            replace(variant, name=_name(board, variant.name)) for variant in manifest.variants
        ),
    )


def own_name(name: str) -> str:
    """Return a variant's name in its own library, without the board's where it has that."""
    return name.rpartition(_BETWEEN)[2]


def board_of(name: str) -> str:
    """Return the board that a variant is named with, nothing where it is not."""
    return name.rpartition(_BETWEEN)[0]


def _name(board: str, variant: str) -> str:
    return f"{board}{_BETWEEN}{variant}"
