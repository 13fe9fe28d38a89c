"""Shared by all tests: skipping what cannot run here, which is a failure in CI."""

from __future__ import annotations

import os
import shutil

import pytest


def require_tool(name: str, package: str) -> None:
    """Skip where a system tool is missing, with its reason; in CI (`CI=true`) fail instead."""
    if shutil.which(name):
        return
    reason = f"{name} is not installed (Debian package {package})"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
