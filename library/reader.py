"""Reads a manifest and verifies every file; whatever does not fit is refused, by name."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import msgspec

from ..errors import LibraryError, ManifestError
from .manifest import (
    DIGEST_NAME,
    MANIFEST_NAME,
    SCHEMA_VERSION,
    Cost,
    Figure,
    FileRecord,
    Manifest,
    Variant,
)

MAX_MANIFEST_BYTES = 16 * 2**20
_PART = r"[A-Za-z0-9_][A-Za-z0-9._+-]*"
_PATH = re.compile(rf"{_PART}(/{_PART})*")
_NAME = re.compile(_PART)


class _Schema(msgspec.Struct):
    schema_version: int


def read_manifest(folder: Path) -> Manifest:
    """Read and check `manifest.json`; the other files are left to `verify_files`.

    Raises:
        LibraryError: there is no library, or the manifest's bytes are not those written.
        ManifestError: another schema, an unknown key, a value out of range, a contradiction.

    """
    path = folder / MANIFEST_NAME
    data = _read_small(path)
    expected = _read_small(folder / DIGEST_NAME)
    if expected != digest_line(data):
        raise LibraryError(f"{path}: its SHA-256 is not the one in {DIGEST_NAME}; copy it again")
    return decode_manifest(data, path)


def digest_line(data: bytes) -> bytes:
    """Return what `manifest.sha256` holds, in the words of sha256sum."""
    return f"{hashlib.sha256(data).hexdigest()}  {MANIFEST_NAME}\n".encode()


def decode_manifest(data: bytes, path: Path) -> Manifest:
    """Decode and check a manifest's bytes; `path` is for messages."""
    try:
        schema = msgspec.json.decode(data, type=_Schema).schema_version
        if schema != SCHEMA_VERSION:
            todo = "upgrade adaspring" if schema > SCHEMA_VERSION else "rebuild the library"
            raise ManifestError(f"{path}: schema {schema}, this reads {SCHEMA_VERSION}; {todo}")
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: {error}; rebuild the library, or copy it again") from error
    for fault in _faults(manifest):
        raise ManifestError(f"{path}: {fault}; rebuild the library")
    return manifest


def verify_files(folder: Path, manifest: Manifest) -> None:
    """Compare every listed file with its size and SHA-256.

    Raises:
        LibraryError: a file is missing, is reached through a link, or was changed.

    """
    for record in manifest.files:
        verify_file(folder, record)


def verify_file(folder: Path, record: FileRecord) -> None:
    """Compare one file with its record."""
    open_verified(folder, record).close()


def open_verified(folder: Path, record: FileRecord) -> BinaryIO:
    """Return one file, open for reading, once it was compared with its record.

    What is read of it later is what was compared, whatever the name stands for by then.
    """
    path = folder / record.path
    if path.resolve() != folder.resolve() / record.path:
        raise LibraryError(
            f"{path}: is a symbolic link, or behind one; a library holds regular files"
        )
    if not path.is_file():
        raise LibraryError(f"{path}: is missing; copy the library again")
    file = path.open("rb")
    size, digest = os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()
    if size == record.size_bytes and digest == record.sha256:
        return file
    file.close()
    if size != record.size_bytes:
        raise LibraryError(f"{path}: {size} bytes, not {record.size_bytes}; copy it again")
    raise LibraryError(f"{path}: its SHA-256 is not the manifest's; copy the library again")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_small(path: Path) -> bytes:
    if path.is_symlink():
        raise LibraryError(f"{path}: is a symbolic link; a library holds regular files")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_MANIFEST_BYTES + 1)
    except FileNotFoundError:
        raise LibraryError(
            f"{path}: no such file, so this is not a library; make one with `adaspring compile`"
        ) from None
    except OSError as error:
        raise LibraryError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > MAX_MANIFEST_BYTES:
        raise ManifestError(f"{path}: larger than {MAX_MANIFEST_BYTES} bytes; rebuild the library")
    return data


def _faults(manifest: Manifest) -> Iterable[str]:
    yield from _name_faults(manifest)
    yield from _file_faults(manifest)
    for variant in manifest.variants:
        yield from _cost_faults(f"variant {variant.name!r}", variant.cost)
        yield from _function_faults(variant)
    for dropped in manifest.dropped:
        if dropped.cost is not None:
            yield from _cost_faults(f"dropped {dropped.name!r}", dropped.cost)
    if not _is_time(manifest.created):
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
    used = [variant.code for variant in manifest.variants]
    for path in (*used, *([manifest.runtime] if manifest.runtime is not None else [])):
        if path not in paths:
            yield f"{path!r} is used but not among the files"


def _cost_faults(where: str, cost: Cost) -> Iterable[str]:
    for field in Cost.__struct_fields__:
        figure: Figure | None = getattr(cost, field)
        if figure is not None and not _is_time(figure.when):
            yield f"{where}: {field} has no ISO 8601 time with a zone, but {figure.when!r}"
    if cost.accuracy is not None and cost.accuracy.value > 1:
        yield f"{where}: accuracy {cost.accuracy.value} is above 1"


def _function_faults(variant: Variant) -> Iterable[str]:
    for function in variant.functions:
        counts = (function.macs_count, function.performed_macs_count)
        if any(count == 0 for count in counts) != (function.dtype is None):
            yield (
                f"variant {variant.name!r}: {function.name!r} does {counts[1]} of {counts[0]} "
                f"multiply-adds in {function.dtype or 'no type'}"
            )


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
