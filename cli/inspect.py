"""`adaspring inspect`: what a library holds, after every file was compared with its hash."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from ..errors import WrongBoard
from .shared.answer import Answer, AsJson, Verbose

if TYPE_CHECKING:
    from ..library.manifest import BoardRecord, Manifest

LibraryFolder = Annotated[Path, typer.Argument(metavar="LIB", help="The library's folder.")]
Decisions = Annotated[
    bool, typer.Option("--decisions", help="Show what each pass did to each layer, or why not.")
]


def inspect(
    lib: LibraryFolder,
    decisions: Decisions = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> Answer:
    """Verify a library and show its board, variants, costs, and what did not enter it.

    Works for the libraries of every board, on any machine.

    For example:
      adaspring inspect net.lib
      adaspring inspect net.lib --decisions
      adaspring inspect net.lib --json
    """
    from ..library.reader import LibraryFolder

    with closing(LibraryFolder(lib)) as folder:
        manifest = folder.read_manifest()
        folder.verify(manifest.files)
    obstacle = _obstacle(manifest.board)
    data = msgspec.to_builtins(manifest)
    data |= {"library": str(lib), "verified": True, "runs_here": obstacle is None}
    if not decisions:
        segments = data["composition"]["segments"] if data["composition"] else []
        for made in (*data["variants"], *(cell for each in segments for cell in each["cells"])):
            del made["decisions"]
    return Answer(data=data, shown=_shown(lib, manifest, obstacle, decisions))


def _obstacle(board: BoardRecord) -> str | None:
    """Why this machine cannot run the library, or None."""
    from ..library.runtime import check_machine

    try:
        check_machine(board)
    except WrongBoard as error:
        return str(error)
    return None


def _shown(lib: Path, manifest: Manifest, obstacle: str | None, decisions: bool) -> tuple[Any, ...]:
    from .shared.library_tables import decision_table, dropped_table, head, variant_table
    from .shared.pieces_tables import pieces_shown

    shown = [*head(lib, manifest, obstacle), variant_table(manifest), *pieces_shown(manifest)]
    if manifest.dropped:
        shown.append(dropped_table(manifest.dropped))
    if decisions:
        shown += [decision_table(v.name, v.decisions) for v in manifest.variants if v.decisions]
    return tuple(shown)
