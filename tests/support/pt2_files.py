"""The members of a .pt2 file, taken out and put back, so that tests can forge them."""

from __future__ import annotations

import zipfile
from pathlib import Path

MODEL = "models/model.json"


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def write(path: Path, content: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, value in content.items():
            archive.writestr(f"mlp/{name}", value)
    return path
