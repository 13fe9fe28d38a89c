"""Writes a library so that a reader sees the whole of it or nothing."""

from __future__ import annotations

import hashlib
import os
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import msgspec

from ..errors import LibraryError, ManifestError
from ..files.replace import (
    CannotExchange,
    check_can_replace,
    folder_beside,
    free_bytes,
    put_in_place,
)
from .manifest import (
    CODE_FOLDER,
    DIGEST_NAME,
    MANIFEST_NAME,
    RUNTIME_FOLDER,
    SCHEMA_VERSION,
    WEIGHTS_FOLDER,
    Dtype,
    Executable,
    FileRecord,
    Manifest,
    Variant,
)
from .parts import CellParts, CompositionParts, ExecutableParts, LibraryParts, VariantParts
from .pieces.composition import (
    Cell,
    Composition,
    Form,
    Segment,
)
from .reader import decode_manifest, digest_line
from .weights import TensorPool

_OURS = {MANIFEST_NAME, DIGEST_NAME, CODE_FOLDER, WEIGHTS_FOLDER, RUNTIME_FOLDER}


def write_library(folder: Path, parts: LibraryParts) -> Manifest:
    """Write `parts` as the library `folder`, replacing a library that is there.

    Everything is written to a temporary folder beside it, synced, then put in its place in one
    step. On any failure, Ctrl-C and a kill included, what was there before stays as it was, and
    whoever opens the library meanwhile finds the old or the new one.

    Returns:
        The manifest as written.

    Raises:
        LibraryError: the folder is neither empty nor a library, or the disk cannot hold it.
        ManifestError: the parts contradict each other (two variants of one name, …).

    """
    check_replaceable(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder_beside(folder) as temporary:
            manifest = _fill(temporary, parts)
            _sync(temporary)
            temporary.chmod(0o755)
            put_in_place(temporary, folder)
    except OSError as error:
        raise _cannot_write(folder, error) from error
    return manifest


def check_replaceable(folder: Path) -> None:
    """Refuse, before long work, a path where `write_library` could not put a library.

    Raises:
        LibraryError: it holds anything but a library, or cannot be written or replaced.

    """
    try:
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise LibraryError(f"{folder}: is not a folder; choose another path for the library")
        names = {entry.name for entry in folder.iterdir()} if folder.exists() else set()
        if names and (MANIFEST_NAME not in names or not names <= _OURS):
            other = sorted(names - _OURS) or sorted(names)
            raise LibraryError(
                f"{folder}: holds {other[0]!r}, which no library has; choose another path"
            )
        check_can_replace(folder)
    except (OSError, ValueError) as error:
        raise _cannot_write(folder, error) from error


def check_room(folder: Path, needed_bytes: int) -> None:
    """Refuse a disk that has less than a library needs at least: LibraryError."""
    left_bytes = free_bytes(folder)
    if left_bytes < needed_bytes:
        raise LibraryError(
            f"{folder}: the library needs at least {needed_bytes} bytes, its disk has {left_bytes} "
            "left; free some space, or choose another path"
        )


def _cannot_write(folder: Path, error: OSError | ValueError) -> LibraryError:
    if isinstance(error, CannotExchange):
        return LibraryError(
            f"{folder}: this file system cannot replace a library in one step; remove the library "
            "first, or choose another path"
        )
    return LibraryError(f"{folder}: cannot be written: {error}; it is as it was")


def _fill(folder: Path, parts: LibraryParts) -> Manifest:
    pool = TensorPool()
    (folder / CODE_FOLDER).mkdir()
    (folder / WEIGHTS_FOLDER).mkdir()
    variants = tuple(_add_variant(folder, variant, pool) for variant in parts.variants)
    composition = None
    if parts.composition is not None:
        composition = _add_composition(folder, parts.composition, pool)
    pool.save(folder / WEIGHTS_FOLDER / "shared.safetensors")
    runtime = None
    if parts.runtime_paths:
        (folder / RUNTIME_FOLDER).mkdir()
        runtime = f"{RUNTIME_FOLDER}/{parts.runtime_paths[0].name}"
        for path in parts.runtime_paths:
            shutil.copyfile(path, folder / RUNTIME_FOLDER / path.name)
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        name=parts.name,
        adaspring_version=version("adaspring"),
        tvm_version=parts.tvm_version,
        created=parts.created,
        board=parts.board,
        inputs=parts.inputs,
        outputs=parts.outputs,
        plainest=parts.plainest,
        variants=variants,
        dropped=parts.dropped,
        files=_file_records(folder),
        runtime=runtime,
        further_shapes=parts.further_shapes,
        padding=dict(parts.padding),
        states=parts.states,
        composition=composition,
        network_sha256=parts.network_sha256,
    )
    data = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    (folder / MANIFEST_NAME).write_bytes(data)
    (folder / DIGEST_NAME).write_bytes(digest_line(data))
    return decode_manifest(data, folder / MANIFEST_NAME)


def _add_variant(folder: Path, parts: VariantParts, pool: TensorPool) -> Variant:
    code = f"{CODE_FOLDER}/{parts.name}.so"
    if "/" in parts.name or (folder / code).exists():
        raise ManifestError(f"variant name {parts.name!r} is taken or holds a slash; rename it")
    first = _add_executable(folder, code, parts, parts.name, pool)
    further = [
        _add_executable(folder, f"{CODE_FOLDER}/{index}/{parts.name}.so", each, parts.name, pool)
        for index, each in enumerate(parts.further_shapes, start=1)
    ]
    return Variant(
        **msgspec.structs.asdict(first),
        name=parts.name,
        recipe=parts.recipe,
        decisions=parts.decisions,
        further_shapes=tuple(further),
    )


def _add_composition(folder: Path, parts: CompositionParts, pool: TensorPool) -> Composition:
    segments = []
    for index, (layers, cells) in enumerate(parts.segments):
        made = tuple(_add_cell(folder, index, cell, pool) for cell in cells)
        segments.append(Segment(layers=layers, cells=made))
    return Composition(
        segments=tuple(segments),
        metric=parts.metric,
        latency=parts.latency,
        combinations=parts.combinations,
        uncut_ratio=parts.uncut_ratio,
    )


def _add_cell(folder: Path, index: int, parts: CellParts, pool: TensorPool) -> Cell:
    code, name = f"{CODE_FOLDER}/cells/{index}/{parts.name}.so", f"{index}.{parts.name}"
    made = _add_executable(folder, code, parts, name, pool)
    forms = []
    for number, form in enumerate(parts.forms):
        code = f"{CODE_FOLDER}/forms/{index}/{parts.name}/{number}.so"
        again = _add_executable(folder, code, form, name, pool)
        forms.append(Form(**msgspec.structs.asdict(again), takes=form.takes, gives=form.gives))
    return Cell(
        **msgspec.structs.asdict(made),
        name=parts.name,
        recipe=parts.recipe,
        decisions=parts.decisions,
        forms=tuple(forms),
    )


def _add_executable(
    folder: Path, code: str, parts: ExecutableParts, variant: str, pool: TensorPool
) -> Executable:
    for name, value in parts.weights.items():
        if value.dtype.name not in get_args(Dtype):
            raise ManifestError(f"{variant}: weight {name!r} has type {value.dtype}; cast it")
    (folder / code).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(parts.code_path, folder / code)
    return Executable(
        code=code,
        functions=parts.functions,
        weights=tuple(pool.add(name, value) for name, value in parts.weights.items()),
        cost=parts.cost,
        agreement=parts.agreement,
    )


def _file_records(folder: Path) -> tuple[FileRecord, ...]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return tuple(
        FileRecord(
            path=path.relative_to(folder).as_posix(),
            sha256=_sha256(path),
            size_bytes=path.stat().st_size,
        )
        for path in paths
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(folder: Path) -> None:
    for path in (*folder.rglob("*"), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
