"""What holds for all tests: their order, and the tools that many of them need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from adaspring.backends.codegen.link import find_linker
from adaspring.errors import BuildError
from adaspring.targets.machine import cache_folder

from .support.requirements import missing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first: the file that begins last decides when all is done."""
    long = {
        item.path
        for item in items
        if item.get_closest_marker("slow") or item.get_closest_marker("board")
    }
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory) -> Iterator[None]:
    """Schedules that tests measure stay out of the user's; what is built is built once."""
    shared = [cache_folder() / name for name in ("boards", "native")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        cache_folder().mkdir()
        for folder in shared:
            folder.mkdir(parents=True, exist_ok=True)
            (cache_folder() / folder.name).symlink_to(folder)
        yield


@pytest.fixture(scope="session")
def aarch64_linker() -> None:
    """Ask for a linker of ARM code."""
    try:
        find_linker("aarch64")
    except BuildError as error:
        missing(str(error))
