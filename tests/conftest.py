"""Fixtures of all tests."""

from __future__ import annotations

import pytest

from adaspring.backends.codegen.link import find_linker
from adaspring.errors import BuildError

from .support.requirements import missing


@pytest.fixture(scope="session")
def aarch64_linker() -> None:
    """Ask for a linker of ARM code."""
    try:
        find_linker("aarch64")
    except BuildError as error:
        missing(str(error))
