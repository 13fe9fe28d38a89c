"""What was learnt is kept for the same library on the same machine, and hostile until checked."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest

from adaspring.errors import CostsError
from adaspring.library.live import saved
from adaspring.library.live.live import Live

from ...support import hostile
from ...support.streams_of_calls import Clock, call, made_live, noise

LIBRARY = "0" * 64
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def taught() -> Live:
    """A machine 1.3 times slower than the recorded one, and a variant slower by half again."""
    clock, rng = Clock(), np.random.default_rng(3)
    live = made_live(clock)
    for _ in range(30):
        call(live, clock, ["dense"], 1.3 * noise(rng, 60))
        call(live, clock, ["small"], 1.3 * 1.5 * noise(rng, 60))
        clock.now_s += 300.0
    return live


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> dict:
    path = tmp_path_factory.mktemp("costs") / "costs.json"
    saved.save({LIBRARY: taught()}, path, NOW)
    return json.loads(path.read_bytes())


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "costs.json"


def put(path: Path, content: dict, **changes: object) -> Path:
    path.write_text(json.dumps({**content, **changes}))
    return path


def loaded(path: Path, now: datetime = NOW) -> tuple[Live, str]:
    live = made_live(Clock())
    return live, saved.load({LIBRARY: live}, path, now)


def test_what_was_learnt_is_there_at_the_next_start(path):
    before = taught()
    saved.save({LIBRARY: before}, path, NOW)
    after, origin = loaded(path)
    assert after.factors(False).own_ratios == pytest.approx(before.factors(False).own_ratios)
    assert after.factors(False).own_ratios["small"] == pytest.approx(1.5, rel=0.1)
    assert 1.1 < after.factors(False).common_ratio < 1.4
    assert origin == f"{path} of 2026-01-31T12:00:00+00:00 was taken in"


def test_what_is_saved_can_be_read_by_people_and_names_no_more_than_it_must(content):
    assert content.keys() == {"schema_version", "library", "machine", "saved", "hot", "cold"}
    assert content["machine"] == msgspec.to_builtins(saved.this_machine())
    assert content["hot"]["own"].keys() == {"dense", "small"}


def test_old_values_fade(path, content):
    put(path, content)
    week, _ = loaded(path, NOW + timedelta(days=7))
    years, _ = loaded(path, NOW + timedelta(days=3000))
    own = content["hot"]["own"]["small"]["ratio"]
    assert week.factors(False).own_ratios["small"] == pytest.approx(own ** np.exp(-1))
    assert years.factors(False).own_ratios["small"] == pytest.approx(1.0)


def test_a_clock_that_went_back_makes_nothing_older(path, content):
    put(path, content)
    assert loaded(path, NOW - timedelta(days=9000))[0].factors(False) == loaded(path)[0].factors(
        False
    )


def test_a_saved_value_that_is_wrong_is_unlearnt_within_50_calls(path, content):
    own = {"dense": {"ratio": 1000.0, "deviation": 0.0, "calls_count": 2**63 - 1}}
    put(path, content, hot={**content["hot"], "own": own})
    clock = Clock()
    live = made_live(clock)
    saved.load({LIBRARY: live}, path, NOW)
    call(live, clock, ["dense"], noise(np.random.default_rng(0), 50))
    factors = live.factors(False)
    assert factors.common_ratio * factors.own_ratios["dense"] == pytest.approx(1.0, rel=0.1)


def test_nothing_saved_yet_is_no_error(path):
    live, origin = loaded(path)
    assert origin == f"{path} does not exist yet"
    assert live.factors(False).common_ratio == 1.0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"library": "1" * 64}, "another library"),
        ({"machine": {"cpu": "Z80", "core_count": 1}}, "Z80 with 1 cores, not "),
    ],
)
def test_costs_of_another_library_or_machine_are_left_alone_and_the_reason_is_logged(
    path, content, changes, reason, caplog
):
    put(path, content, **changes)
    live, origin = loaded(path)
    assert reason in origin
    assert reason in caplog.text
    assert live.factors(False).common_ratio == 1.0


def wrong_ratio(value: object) -> dict:
    return {"hot": {"machine": {"ratio": value, "deviation": 0.1}, "own": {}}}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schema_version": 2}, "schema 2, and this adaspring reads 1"),
        ({"schema_version": "x"}, "schema_version"),
        ({"more": 1}, "unknown field `more`"),
        ({"library": "x"}, "library"),
        ({"saved": "yesterday"}, "saved"),
        ({"saved": "2026-01-31T12:00:00"}, "no time zone"),
        (wrong_ratio(0), "ratio"),
        (wrong_ratio(-1.0), "ratio"),
        (wrong_ratio(1e300), "ratio"),
        (wrong_ratio(None), "ratio"),
        (wrong_ratio(True), "ratio"),
        ({"hot": {"machine": {"ratio": 1, "deviation": -1}, "own": {}}}, "deviation"),
        (
            {
                "hot": {
                    "machine": {"ratio": 1, "deviation": 0},
                    "own": {"nobody": {"ratio": 1, "deviation": 0, "calls_count": 1}},
                }
            },
            "'nobody' is no variant",
        ),
    ],
)
def test_a_file_that_is_wrong_is_refused_and_changes_nothing(path, content, changes, reason):
    put(path, content, **changes)
    live = made_live(Clock())
    with pytest.raises(CostsError, match=r"delete it, and costs are learnt anew$") as error:
        saved.load({LIBRARY: live}, path, NOW)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)
    assert live.factors(False) == made_live(Clock()).factors(False)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"NaN", b"[" * 100_000, b"[]", b"null"])
def test_what_is_no_costs_is_refused(path, data):
    path.write_bytes(data)
    with pytest.raises(CostsError, match="delete it"):
        loaded(path)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e999", "-1e999"])
def test_numbers_that_are_none_are_refused(path, content, text):
    put(path, content, **wrong_ratio("here"))
    path.write_text(path.read_text().replace('"here"', text))
    with pytest.raises(CostsError, match="delete it"):
        loaded(path)


@pytest.mark.parametrize("kind", hostile.KINDS)
def test_what_is_no_file_is_refused_and_never_waited_for(path, kind):
    hostile.put(path, kind)
    with pytest.raises(CostsError):
        loaded(path)


def test_saving_replaces_a_file_and_leaves_nothing_beside_it(path):
    path.write_text("old")
    saved.save({LIBRARY: taught()}, path, NOW)
    assert loaded(path)[1].endswith("was taken in")
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("kind", ["pipe", "folder", "socket", "loop"])
def test_saving_replaces_nothing_that_is_no_file(path, kind):
    hostile.put(path, kind)
    with pytest.raises(CostsError, match="is no file, so it is not replaced"):
        saved.save({LIBRARY: made_live(Clock())}, path, NOW)


@pytest.mark.parametrize("name", ["no/such/folder.json", "x" * 300, "a\0b"])
def test_saving_where_nothing_can_be_written_says_so(tmp_path, name):
    with pytest.raises(CostsError, match="cannot be written"):
        saved.save({LIBRARY: made_live(Clock())}, tmp_path / name, NOW)
