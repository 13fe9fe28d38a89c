"""Shared by the tests of the explorer: variants are timed briefly, as no test asks how fast."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..support.cli import measure_briefly


@pytest.fixture(scope="session", autouse=True)
def brief_measuring() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        measure_briefly(patch)
        yield
