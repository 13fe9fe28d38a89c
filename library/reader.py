"""Reads a manifest and verifies every file; whatever does not fit is refused, by name.

The folder is opened once, and every file in it from there: whatever the folder's name stands for
by then, manifest, weights and code are of one library. What is read of a file is what was verified.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from ..errors import LibraryError, ManifestError, UsageError
from ..files.folder import OpenFolder
from ..files.read import NotRegular, why_unreadable
from ..targets.toml_board import MAX_TARGET_DEPTH, depth_of
from .faults.figures import figure_faults, is_time
from .faults.pieces import composition_faults
from .manifest import (
    DIGEST_NAME,
    MANIFEST_NAME,
    READ_SCHEMAS,
    SCHEMA_VERSION,
    Executable,
    FileRecord,
    Manifest,
)
from .older.schemas import WITH_ACCURACY, upgraded
from .shapes.faults import shape_faults
from .streams.pairs import pair_states

MAX_MANIFEST_BYTES = 16 * 2**20
# A large file that is nearly all holes costs its maker nothing, and minutes to hash.
_LARGE_BYTES, _LEAST_STORED_RATIO = 2**30, 1 / 8
_NO_LIBRARY = "no such file, so this is not a library; make one with `adaspring compile`"
_PART = r"[A-Za-z0-9_][A-Za-z0-9._+-]*"
_PATH = re.compile(rf"{_PART}(/{_PART})*")
_NAME = re.compile(_PART)


class _Schema(msgspec.Struct):
    schema_version: int


class LibraryFolder:
    """A library's folder, opened. Every method raises LibraryError, and says which file is wrong.

    The files stay open until `close`, so that they can be read after the folder was replaced.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _refusal(path, _NO_LIBRARY):
            self._opened = OpenFolder(path)
        self.was_replaced, self.close = self._opened.was_replaced, self._opened.close
        self.digest = ""  # of the manifest, once it is read

    def read_manifest(self) -> Manifest:
        """Read and check `manifest.json`; ManifestError says what is wrong in it."""
        path = self.path / MANIFEST_NAME
        data, expected = self._read_small(MANIFEST_NAME), self._read_small(DIGEST_NAME)
        if expected != digest_line(data):
            raise LibraryError(
                f"{path}: its SHA-256 is not the one in {DIGEST_NAME}; copy it again"
            )
        self.digest = hashlib.sha256(data).hexdigest()
        return decode_manifest(data, path)

    def verify(self, records: Sequence[FileRecord]) -> None:
        """Compare files with their records, the sizes of all before the content of any."""
        for record in records:
            self._compare_size(record)
        for record in records:
            digest = hashlib.sha256()
            for chunk in self._chunks(record):
                digest.update(chunk)
            self._compare(record, digest.hexdigest())

    def read(self, record: FileRecord) -> bytes:
        """Return a file's content; what was compared with its record is what is returned."""
        self._compare_size(record)
        data = b"".join(self._chunks(record))
        self._compare(record, hashlib.sha256(data).hexdigest())
        return data

    def open(self, record: FileRecord) -> BinaryIO:
        """Return a file that `verify` compared, open for reading."""
        with _refusal(self.path / record.path):
            return os.fdopen(self._opened.duplicate(record.path), "rb")

    def _compare_size(self, record: FileRecord) -> None:
        path = self.path / record.path
        with _refusal(path):
            size_bytes, stored_bytes = self._opened.size_bytes(record.path)
        if size_bytes != record.size_bytes:
            raise LibraryError(
                f"{path}: {size_bytes} bytes, not {record.size_bytes}; copy it again"
            )
        if size_bytes > _LARGE_BYTES and stored_bytes < _LEAST_STORED_RATIO * size_bytes:
            raise LibraryError(
                f"{path}: {size_bytes} bytes, of which {stored_bytes} are on the disk; no weights "
                "are so; copy it again"
            )

    def _chunks(self, record: FileRecord) -> Iterator[bytes]:
        """Give as many bytes as the record says, and one more where there are more."""
        with _refusal(self.path / record.path):
            yield from self._opened.chunks(record.path, record.size_bytes + 1)

    def _compare(self, record: FileRecord, digest: str) -> None:
        if digest != record.sha256:
            raise LibraryError(
                f"{self.path / record.path}: its SHA-256 is not the manifest's; copy the library "
                "again"
            )

    def _read_small(self, name: str) -> bytes:
        path = self.path / name
        with _refusal(path, _NO_LIBRARY):
            if self._opened.size_bytes(name)[0] > MAX_MANIFEST_BYTES:
                raise ManifestError(
                    f"{path}: larger than {MAX_MANIFEST_BYTES} bytes; rebuild the library"
                )
            return b"".join(self._opened.chunks(name, MAX_MANIFEST_BYTES))


@contextmanager
def _refusal(path: Path, absence: str = "is missing; copy the library again") -> Iterator[None]:
    """What the system says of `path`, as an error that says what to do."""
    try:
        yield
    except NotRegular as error:
        what = "is a symbolic link, or behind one; a library holds regular files"
        if error.kind != "a symbolic link":
            what = f"is missing, {error.kind} is in its place; copy the library again"
        raise LibraryError(f"{path}: {what}") from None
    except (FileNotFoundError, NotADirectoryError) as error:
        raise LibraryError(f"{path}: {absence}") from error
    except (OSError, ValueError) as error:
        todo = "fix its permissions" if isinstance(error, PermissionError) else "copy it again"
        raise LibraryError(f"{path}: {why_unreadable(error)}; {todo}") from error


def read_manifest(path: Path) -> Manifest:
    """Read and check `manifest.json`; the other files are left to `verify_files`.

    Raises:
        LibraryError: there is no library, or the manifest's bytes are not those written.
        ManifestError: another schema, an unknown key, a value out of range, a contradiction.

    """
    with closing(LibraryFolder(path)) as folder:
        return folder.read_manifest()


def verify_files(path: Path, manifest: Manifest) -> None:
    """Compare every listed file with its size and SHA-256.

    Raises:
        LibraryError: a file is missing, is reached through a link, or was changed.

    """
    with closing(LibraryFolder(path)) as folder:
        folder.verify(manifest.files)


def digest_line(data: bytes) -> bytes:
    """Return what `manifest.sha256` holds, in the words of sha256sum."""
    return f"{hashlib.sha256(data).hexdigest()}  {MANIFEST_NAME}\n".encode()


def decode_manifest(data: bytes, path: Path) -> Manifest:
    """Decode and check a manifest's bytes; `path` is for messages."""
    try:
        schema = msgspec.json.decode(data, type=_Schema).schema_version
        if schema not in READ_SCHEMAS:
            todo = "upgrade adaspring" if schema > SCHEMA_VERSION else "rebuild the library"
            raise ManifestError(f"{path}: schema {schema}, this reads {SCHEMA_VERSION}; {todo}")
        if schema in WITH_ACCURACY:
            manifest = msgspec.convert(upgraded(msgspec.json.decode(data)), Manifest)
        else:
            manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ManifestError(f"{path}: {error}; rebuild the library, or copy it again") from error
    for fault in _faults(manifest):
        raise ManifestError(f"{path}: {fault}; rebuild the library")
    return manifest


def _faults(manifest: Manifest) -> Iterable[str]:
    yield from _name_faults(manifest)
    yield from _file_faults(manifest)
    yield from shape_faults(manifest)
    yield from _state_faults(manifest)
    yield from composition_faults(manifest)
    for name, each in manifest.executables:
        yield from _function_faults(name, each)
    yield from figure_faults(manifest)
    if depth_of(manifest.board.target) > MAX_TARGET_DEPTH:
        yield f"board.target is nested more than {MAX_TARGET_DEPTH} deep"
    if not is_time(manifest.created):
        yield f"created {manifest.created!r} is not an ISO 8601 time with a zone"


def _name_faults(manifest: Manifest) -> Iterable[str]:
    groups = {
        "variant": [variant.name for variant in manifest.variants],
        "input": [spec.name for spec in manifest.inputs],
        "output": [spec.name for spec in manifest.outputs],
    }
    for kind, names in groups.items():
        for name, count in Counter(names).items():
            if count > 1:
                yield f"{count} {kind}s are named {name!r}"
    for name in groups["variant"]:
        if not _NAME.fullmatch(name):
            yield f"variant name {name!r} is not letters, digits and . _ + -"
    if manifest.plainest not in groups["variant"]:
        yield f"plainest is {manifest.plainest!r}, which is no variant"


def _file_faults(manifest: Manifest) -> Iterable[str]:
    paths = [record.path for record in manifest.files]
    for path, count in Counter(paths).items():
        if not _PATH.fullmatch(path):
            yield f"path {path!r} leaves the library's folder or is not plain"
        if count > 1:
            yield f"file {path!r} is listed {count} times"
    used = [each.code for _, each in manifest.executables]
    for path in (*used, *([manifest.runtime] if manifest.runtime is not None else [])):
        if path not in paths:
            yield f"{path!r} is used but not among the files"


def _state_faults(manifest: Manifest) -> Iterable[str]:
    declared = {state.input: state.output for state in manifest.states}
    if len(declared) < len(manifest.states):
        yield "an input is two states"
    try:
        pair_states(manifest.inputs, manifest.outputs, declared)
    except UsageError as error:
        yield str(error)


def _function_faults(variant: str, executable: Executable) -> Iterable[str]:
    for function in executable.functions:
        counts = (function.macs_count, function.performed_macs_count)
        if any(count == 0 for count in counts) != (function.dtype is None):
            yield (
                f"variant {variant!r}: {function.name!r} does {counts[1]} of {counts[0]} "
                f"multiply-adds in {function.dtype or 'no type'}"
            )
