"""A clone passes its checks whatever its folder is called."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .support.package import copy_checkout

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent


@pytest.fixture(params=["adaspring", "x y"])
def clone(request, tmp_path) -> Path:
    return copy_checkout(tmp_path / request.param)


def test_style_does_not_depend_on_the_folders_name(clone):
    for arguments in (["check", "--no-cache", "."], ["format", "--no-cache", "--check", "."]):
        done = subprocess.run(
            [BIN / "ruff", *arguments], cwd=clone, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout


def test_the_makefile_works_in_any_folder(clone):
    done = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "test", "demo"],
        cwd=clone,
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(clone) not in done.stdout  # a path with a space would have to be quoted
