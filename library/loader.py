"""Opens a library: verified, checked against this machine, its weights shared by all variants."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NoReturn, overload
from weakref import WeakSet

import numpy as np

from ..errors import AdaspringError, LibraryError, UsageError
from .executable import Executable, Part
from .joined.libraries import Libraries, load_together
from .joined.names import with_board
from .joined.opening import Openable
from .manifest import WEIGHTS_FOLDER, Manifest
from .manifest import Executable as CompiledRecord
from .native.ffi import Tensor, tvm_ffi
from .native.turns import LOAD_VARIANT, Turn
from .pieces.loaded import Pieces
from .pieces.variants import unknown_variant
from .reader import LibraryFolder
from .runtime import SPIN_US, check_machine, load_code, load_runtime
from .tensors import CPU, DEVICES, copy_to
from .weights import Array, give_back_pages, map_tensors, whole_pages

_MOST_REPLACED = 1000  # times in one opening, each time by a whole library


@overload
def load(path: str | Path) -> Library: ...  # type: ignore[overload-overlap]  # a str is a sequence


@overload
def load(path: Sequence[str | Path]) -> Libraries: ...


def load(path: str | Path | Sequence[str | Path]) -> Library | Libraries:
    """Open the library in a folder, or several libraries of one network as one.

    Every file is compared with its SHA-256 first. That protects against damage, not against
    malice: a library is native code, so open only those that you trust. The library that is opened
    is one, also where the folder is replaced meanwhile; it stays that one when it is replaced,
    moved or deleted later.

    Of a list of two folders or more, for boards of this machine (``[cpu, gpu]``), nets have the
    variants of all; docs/app.md, Several libraries.

    Raises:
        LibraryError: it is missing or damaged; ManifestError: its manifest is wrong.
        WrongBoard: it was built for another machine, or for a device that is not here.
        RuntimeMissing: libtvm_runtime is neither packed in it nor installed.
        UsageError: libraries in a list are of different networks, metrics or shapes, of one board,
            or fewer than two.

    """
    if isinstance(path, str | os.PathLike):
        return _load(Path(path).absolute())
    return load_together(path, _load)


def _load(absolute: Path) -> Library:
    for _ in range(_MOST_REPLACED):
        folder = LibraryFolder(absolute)
        try:
            return _open(folder)
        except AdaspringError:
            replaced = folder.was_replaced()
            folder.close()
            if not replaced:
                raise
    raise LibraryError(f"{absolute}: is replaced again and again; open it when that has ended")


def _open(folder: LibraryFolder) -> Library:
    manifest = folder.read_manifest()
    check_machine(manifest.board)
    folder.verify(manifest.files)
    arrays: dict[str, Array] = {}
    for record in manifest.files:
        if record.path.startswith(f"{WEIGHTS_FOLDER}/"):
            with folder.open(record) as file:
                arrays |= map_tensors(file)
    load_runtime(folder, manifest)
    return Library(folder, manifest, arrays)


class Library(Openable):
    """An opened library. Nets of one library share weights, so each tensor is in memory once.

    On a CPU the weights are the mapped file's own pages (`map_tensors`): the folder may be replaced
    or deleted meanwhile, but no file in it may be cut or overwritten in its place.

    `close`, or the end of a `with` block, closes the folder: no variant can be loaded from then on,
    while those that are loaded go on running.
    """

    def __init__(
        self, folder: LibraryFolder, manifest: Manifest, arrays: Mapping[str, Array]
    ) -> None:
        self.folder, self.digest = folder.path, folder.digest
        self.manifest = manifest
        self.close = folder.close
        self._files = folder
        self._arrays = arrays
        self._weights: dict[str, Tensor] = {}
        self._executables: WeakSet[Executable] = WeakSet()  # as long as a net or a call has them
        self._loading = Turn(LOAD_VARIANT)

    def __enter__(self) -> Library:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def __repr__(self) -> str:
        board, names = self.manifest.board.name, ", ".join(self.variants)
        return f"<Library {self.manifest.name} for {board} in {self.folder}: {names}>"

    def __reduce__(self) -> NoReturn:
        raise UsageError(
            "a library cannot be pickled or copied; hand on its folder, and open it there with "
            f"adaspring.load({str(self.folder)!r})"
        )

    @cached_property
    def variants(self) -> tuple[str, ...]:
        """Names of the variants, in the manifest's order."""
        return tuple(variant.name for variant in self.manifest.variants)

    @property
    def weights_bytes(self) -> int:
        """Bytes of all weights in use now, shared ones counted once."""
        return sum(_nbytes(tensor) for tensor in self._weights.values())

    def with_board(self) -> Library:
        """Return the same library, its variants named with their board."""
        return Library(self._files, with_board(self.manifest), self._arrays)

    def _every_library(self) -> tuple[Library, ...]:
        return (self,)

    def executable(
        self, name: str, threads: int | None = None, spin_us: int = SPIN_US, *, shape: int = 0
    ) -> Executable:
        """Load one variant at one shape, by the shape's number, its weights shared with all others.

        UsageError where there is no such variant.
        """
        if name not in self.variants:
            raise unknown_variant(name, self.variants)
        shapes = self.manifest.variant(name).executables
        part = self._part(shapes[shape], [key for each in shapes for key in each.weights])
        return self._executable(name, (part,), threads, spin_us)

    def _part(self, record: CompiledRecord, read: Iterable[str]) -> Part:
        """Load code and weights; UsageError where the library was closed."""
        if not self.close.alive:
            raise UsageError(f"this library is closed; load {self.folder} again")
        device = DEVICES[self.manifest.board.device]
        code = next(each for each in self.manifest.files if each.path == record.code)
        with self._loading:
            machine = load_code(self._files.read(code), self.folder / record.code, device)
            weights = tvm_ffi.Array([self._weight(key, device) for key in record.weights])
            return Part(machine, weights, {key: self._arrays[key] for key in read})

    def _executable(
        self,
        name: str,
        parts: Sequence[Part],
        threads: int | None,
        spin_us: int,
        running: Turn | None = None,
    ) -> Executable:
        board = self.manifest.board
        count = threads or board.thread_count
        with self._loading:
            made = Executable(name, parts, board.device, count, board.affinity, spin_us, running)
            self._executables.add(made)
            return made

    def pieces(self, threads: int | None = None, spin_us: int = SPIN_US) -> Pieces | None:
        """What networks are put together of; None where the library holds whole variants alone."""
        if self.manifest.composition is None:
            return None

        def load(cell: CompiledRecord) -> Part:
            return self._part(cell, cell.weights)

        def make(name: str, parts: Sequence[Part], running: Turn) -> Executable:
            return self._executable(name, parts, threads, spin_us, running)

        return Pieces(self.manifest.composition, load, make)

    def forget_weights(self) -> None:
        """Give up tensors that no loaded variant has; on a GPU, their memory."""
        with self._loading:
            used = {key for executable in self._executables for key in executable.weights_read}
            self._weights = {key: self._weights[key] for key in self._weights.keys() & used}

    def _weight(self, key: str, device: tuple[int, int]) -> Tensor:
        """Return a tensor on the device, brought there when first asked for."""
        if key not in self._weights:
            if key not in self._arrays:
                raise LibraryError(f"no weights file holds {key!r}; rebuild the library")
            array = self._arrays[key]
            tensor = tvm_ffi.from_dlpack(array)
            if device != CPU:
                tensor = copy_to(tensor, device)
                give_back_pages(whole_pages([array]))
            self._weights[key] = tensor
        return self._weights[key]


def _nbytes(tensor: Tensor) -> int:
    return math.prod(tensor.shape) * np.dtype(str(tensor.dtype)).itemsize
