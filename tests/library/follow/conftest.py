"""Shared by the tests of following: a library of three variants, and nets of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import adaspring
from adaspring.library import writer

from ...support.libraries import parts


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """Variants dense, rank16 and rank4; p90 of 10, 4 and 2 ms, metric 0.98, 0.96 and 0.90."""
    path = tmp_path_factory.mktemp("follow") / "tiny.lib"
    writer.write_library(path, parts())
    return path


@pytest.fixture
def net(folder) -> Iterator[adaspring.Net]:
    with adaspring.load(folder).open() as net:
        yield net
