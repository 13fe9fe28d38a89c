"""Shared by the tests of the library format."""

from pathlib import Path

import pytest


@pytest.fixture
def code(tmp_path: Path) -> Path:
    path = tmp_path / "code.so"
    path.write_bytes(b"\x7fELF not really")
    return path
