"""Shared by all tests: skipping what cannot run here, which is a failure in CI."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import NoReturn

import pytest

from adaspring.backends.codegen.link import find_linker
from adaspring.errors import BuildError
from adaspring.targets.machine import cache_folder


def missing(reason: str) -> NoReturn:
    """Skip for a package that is missing, with its reason; in CI (`CI=true`) fail instead."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def require_tool(name: str, package: str) -> None:
    """Ask for a system tool."""
    if shutil.which(name) is None:
        missing(f"{name} is not installed (Debian package {package})")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory) -> Iterator[None]:
    """Schedules that tests measure stay out of the user's; emulated boards are built once."""
    boards = cache_folder() / "boards"
    boards.mkdir(parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        cache_folder().mkdir()
        (cache_folder() / "boards").symlink_to(boards)
        yield


@pytest.fixture(scope="session")
def aarch64_linker() -> None:
    """Ask for a linker of ARM code."""
    try:
        find_linker("aarch64")
    except BuildError as error:
        missing(str(error))
