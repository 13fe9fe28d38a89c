"""What holds for all tests: their order, and the tools that many of them need."""

from __future__ import annotations

import pytest

from adaspring.backends.codegen.link import find_linker
from adaspring.errors import BuildError

from .support.requirements import missing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first: the file that begins last decides when all is done."""
    long = {
        item.path
        for item in items
        if item.get_closest_marker("slow") or item.get_closest_marker("board")
    }
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="session")
def aarch64_linker() -> None:
    """Ask for a linker of ARM code."""
    try:
        find_linker("aarch64")
    except BuildError as error:
        missing(str(error))
