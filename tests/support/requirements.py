"""What a test asks of the machine: without it the test is skipped, and in CI it fails."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """Skip for a package that is missing, with its reason; in CI (`CI=true`) fail instead."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def require_tool(name: str, package: str) -> None:
    """Ask for a system tool."""
    if shutil.which(name) is None:
        missing(f"{name} is not installed (Debian package {package})")
