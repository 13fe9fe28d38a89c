"""`adaspring targets`: the boards, and where each of their figures comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from ..errors import BoardError
from ..targets import find, is_this_machine, names
from .shared.answer import Answer, AsJson, Verbose

if TYPE_CHECKING:
    from ..targets import Board

BoardName = Annotated[
    str | None, typer.Argument(metavar="[BOARD]", help="A name, or the path of a .toml file.")
]


def targets(board: BoardName = None, as_json: AsJson = False, verbose: Verbose = False) -> Answer:
    """List the boards that libraries are made for, or everything known of one, with sources.

    For example:
      adaspring targets
      adaspring targets raspberry-pi-5
      adaspring targets my-board.toml
    """
    if board is not None:
        return _one(find(board))
    boards = [found for name in names() if (found := _found(name)) is not None]
    from .shared.tables import bytes_text, line, table

    rows = [
        (b.name, b.description, b.device, b.architecture, str(b.core_count),
         bytes_text(b.memory_bytes))
        for b in boards
    ]  # fmt: skip
    columns = ("name", "board", "device", "architecture", ">threads", ">memory")
    return Answer(
        data={"boards": [_record(each) for each in boards]},
        shown=(
            table("Boards", columns, rows),
            line("`adaspring targets NAME` shows one with its sources."),
        ),
    )


def _found(name: str) -> Board | None:
    """The board, or None where it is a device that this machine lacks."""
    try:
        return find(name)
    except BoardError:
        return None


def _one(board: Board) -> Answer:
    from .shared.tables import table

    rows = [(field, value, _source(board, field)) for field, value in _fields(board)]
    return Answer(
        data=_record(board),
        shown=(table(f"{board.name}: {board.description}", ("field", "value", "source"), rows),),
    )


def _record(board: Board) -> dict[str, Any]:
    return {**msgspec.to_builtins(board), "is_this_machine": is_this_machine(board)}


def _fields(board: Board) -> list[tuple[str, str]]:
    """List every field, nested ones by dotted name; a list on one line."""
    found: list[tuple[str, str]] = []

    def add(prefix: str, value: Any) -> None:
        if isinstance(value, dict) and value:
            for key, inner in value.items():
                add(f"{prefix}.{key}", inner)
        elif isinstance(value, list | tuple):
            found.append((prefix, " ".join(str(item) for item in value)))
        else:
            found.append((prefix, str(value)))

    for name, value in msgspec.to_builtins(board).items():
        if name not in ("name", "description", "sources"):
            add(name, value)
    return found


def _source(board: Board, field: str) -> str:
    return board.sources.get(field) or board.sources.get(field.partition(".")[0], "")
