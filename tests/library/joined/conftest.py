"""Shared by the tests of libraries that are loaded as one."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import adaspring

from ...support.joined import write_pair


@pytest.fixture(scope="session")
def pair(tmp_path_factory) -> tuple[Path, Path]:
    """One for a processor: dense, rank16, rank4; one for a GPU: dense, rank16."""
    return write_pair(tmp_path_factory.mktemp("joined"))


@pytest.fixture
def libraries(pair) -> Iterator[adaspring.Libraries]:
    with adaspring.load(list(pair)) as libraries:
        yield libraries


@pytest.fixture
def net(libraries) -> Iterator[adaspring.Net]:
    with libraries.open() as net:
        yield net


@pytest.fixture
def arrays() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.standard_normal((2, 48), dtype=np.float32), np.ones((2, 48), np.float32)
