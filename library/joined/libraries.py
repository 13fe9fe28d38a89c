"""Several libraries of one network: each is opened for itself, a net has the variants of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ...errors import RuntimeMissing, UsageError, WrongBoard
from .agreement import check_libraries
from .opening import Openable

if TYPE_CHECKING:
    from ..loader import Library


class Libraries(Openable):
    """Opened libraries of one network, each for another board of this machine.

    `open` gives a net of all variants, named ``BOARD:VARIANT``, in the order of the libraries.
    Weights are in memory once a library. `close`, or the end of a `with` block, closes all.
    """

    def __init__(self, libraries: Sequence[Library]) -> None:
        self.libraries = tuple(libraries)

    def __enter__(self) -> Libraries:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Libraries {', '.join(map(repr, self.libraries))}>"

    def __reduce__(self) -> NoReturn:
        raise UsageError(
            "libraries cannot be pickled or copied; hand on their folders, and open them there "
            f"with adaspring.load({[str(library.folder) for library in self.libraries]})"
        )

    @property
    def variants(self) -> tuple[str, ...]:
        """Names of all variants, each behind its board's."""
        return tuple(name for library in self.libraries for name in library.variants)

    @property
    def weights_bytes(self) -> int:
        """Bytes of all weights in use now, those that a library's variants share counted once."""
        return sum(library.weights_bytes for library in self.libraries)

    def close(self) -> None:
        """Close every library; nets go on with the variants that they have loaded."""
        for library in self.libraries:
            library.close()

    def _every_library(self) -> tuple[Library, ...]:
        return self.libraries


def load_together(paths: Sequence[str | Path], load: Callable[[Path], Library]) -> Libraries:
    """Open libraries of one network; where one cannot be had, or does not fit, none is.

    Raises:
        UsageError: fewer than two, one twice, or they differ in network, metric or form.
        AdaspringError: what `load` raises, of the first that it cannot open.

    """
    folders = [Path(path).absolute() for path in paths]
    if len(folders) < 2:
        raise UsageError(
            f"{len(folders)} libraries are given in a list; give two or more, or one path alone"
        )
    with ExitStack() as opened:
        libraries = [opened.enter_context(_opened(folder, load)) for folder in folders]
        check_libraries(libraries)
        opened.pop_all()
    return Libraries([library.with_board() for library in libraries])


def _opened(folder: Path, load: Callable[[Path], Library]) -> Library:
    try:
        return load(folder)
    except (WrongBoard, RuntimeMissing) as error:
        raise type(error)(f"{folder}: {error}; or load the others without it") from error
