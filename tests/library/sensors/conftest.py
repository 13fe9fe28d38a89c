"""Shared by the tests of the sensors."""

from pathlib import Path

import pytest

from ...support.fake_machine import FakeMachine


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    return FakeMachine(tmp_path)
