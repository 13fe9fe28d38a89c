"""Traces: what is recorded is played, and what is no trace is refused with its line."""

from __future__ import annotations

import json
import resource

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import adaspring
from adaspring.errors import TraceError, UsageError
from adaspring.library.sensors.readings import Readings
from adaspring.library.sensors.trace import Moment, read_trace

from ...support import hostile
from ...support.fake_machine import Clock

HEADER = b'{"trace_version":1}\n'
quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Played:
    """A source that reads one thing after the other."""

    def __init__(self, *readings: Readings) -> None:
        self.readings = iter(readings)

    def read(self) -> Readings:
        return next(self.readings)


def trace(tmp_path, *lines: str, end: str = "\n"):
    path = tmp_path / "day.jsonl"
    path.write_bytes(HEADER + ("\n".join(lines) + end).encode())
    return path


def test_what_is_recorded_is_played_at_its_time(tmp_path):
    clock, path = Clock(), tmp_path / "day.jsonl"
    seen = [Readings(battery_ratio=0.5, on_mains=False), Readings(load_ratio=2.0), Readings()]
    with adaspring.Recorder(path, Played(*seen), clock=clock) as recorder:
        for _ in seen:
            clock.now_s += 10
            recorder.read()
    times = [json.loads(line)["time_s"] for line in path.read_text().splitlines()[1:]]
    assert times == [10, 20, 30]
    replay = adaspring.Replay(path, clock=clock)
    found = []
    for _ in range(4):
        moment = replay.read()
        found.append((moment.battery_ratio, moment.load_ratio, replay.ended))
        clock.now_s += 9.99
    assert found == [
        (0.5, None, False), (0.5, None, False), (None, 2.0, False), (None, None, True)
    ]  # fmt: skip
    assert replay.read() == Moment(time_s=30)


def test_an_hour_is_played_in_a_minute(tmp_path):
    clock = Clock()
    path = trace(tmp_path, '{"time_s":0}', '{"time_s":3600,"load_ratio":1}')
    replay = adaspring.Replay(path, speed=60, clock=clock)
    assert replay.read().load_ratio is None
    clock.now_s += 60
    assert replay.read().load_ratio == 1.0


def test_what_the_app_wanted_is_played_too_and_what_it_says_now_counts(tmp_path):
    line = '{"time_s":0,"latency_budget_ms":5,"metric_floor":-3,"calls_per_s":2,"load_ratio":1}'
    replay = adaspring.Replay(trace(tmp_path, line))
    assert adaspring.Context.now(sensors=replay, latency_budget_ms=7) == adaspring.Context(
        latency_budget_ms=7, metric_floor=-3, calls_per_s=2, load_ratio=1
    )
    replay = adaspring.Replay(
        trace(tmp_path, '{"time_s":0,"available_memory_bytes":9,"memory_budget_bytes":5}')
    )
    assert adaspring.Context.now(sensors=replay).memory_budget_bytes == 5


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_half_a_line_at_the_end_is_what_a_kill_leaves(tmp_path, cut):
    last = '{"time_s":2,"load_ratio":0.25,"on_mains":true}'
    path = trace(tmp_path, '{"time_s":1}', last[:-cut], end="")
    assert read_trace(path) == (Moment(time_s=1),)


def test_a_whole_line_at_the_end_needs_no_newline(tmp_path):
    assert len(read_trace(trace(tmp_path, '{"time_s":1}', '{"time_s":2}', end=""))) == 2


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"time_s":1,"batery_ratio":0.5}', "unknown field `batery_ratio`"),
        ('{"time_s":1,"battery_ratio":2.5}', r"battery_ratio"),
        ('{"time_s":1,"battery_ratio":"full"}', r"battery_ratio"),
        ('{"time_s":1,"slowdown_ratio":0.5}', r"slowdown_ratio"),
        ('{"time_s":1,"load_ratio":NaN}', "malformed"),
        ('{"time_s":-1}', "time_s"),
        ('{"time_s":0.5}', r"its time, 0\.5 s, is before the line above's"),
        ('{"load_ratio":1}', "required field `time_s`"),
        ("[1]", "Expected `object`"),
        ("", "truncated"),
        ('{"time_s":1', "truncated"),
        ("\x00\x01", "malformed"),
        ("[" * 100_000, "line 3"),
    ],
)
def test_a_wrong_line_is_named_with_its_number(tmp_path, line, problem):
    path = trace(tmp_path, '{"time_s":1}', line, '{"time_s":3}')
    with pytest.raises(TraceError, match=rf"day\.jsonl, line 3: .*{problem}|{problem}") as caught:
        read_trace(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("first", [b"", b"{}", b'{"time_s":0}', b"PK\x03\x04", b'{"trace_version'])
def test_what_is_no_trace_says_how_one_begins(tmp_path, first):
    path = tmp_path / "x"
    path.write_bytes(first + b"\n")
    with pytest.raises(TraceError, match=r'x is no trace: its first line must be {"trace_version"'):
        adaspring.Replay(path)


def test_a_trace_of_a_later_version_says_so(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b'{"trace_version":2}\n{"time_s":0}\n')
    with pytest.raises(TraceError, match="of version 2, this adaspring plays 1"):
        adaspring.Replay(path)


def test_a_trace_without_moments_has_nothing_to_play(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(HEADER)
    with pytest.raises(TraceError, match="no moments"):
        adaspring.Replay(path)


@pytest.mark.parametrize("kind", hostile.KINDS)
def test_what_is_no_plain_file_is_refused_at_once(tmp_path, kind):
    path = hostile.put(tmp_path / "day.jsonl", kind)
    with pytest.raises(TraceError, match=r"day\.jsonl"):
        adaspring.Replay(path)
    with pytest.raises(TraceError, match=r"day\.jsonl is there already"):
        adaspring.Recorder(path)


def test_a_trace_that_cannot_be_written_says_why(tmp_path):
    with pytest.raises(TraceError, match=r"no/day\.jsonl cannot be written: No such file"):
        adaspring.Recorder(tmp_path / "no" / "day.jsonl")


def test_moments_of_two_threads_may_be_written_in_either_order(tmp_path):
    moments = read_trace(trace(tmp_path, '{"time_s":1.05,"load_ratio":2}', '{"time_s":1}'))
    assert moments == (Moment(time_s=1.05, load_ratio=2), Moment(time_s=1.05))


def test_a_full_disk_is_an_error_once_and_what_is_read_goes_on(tmp_path):
    path = tmp_path / "day.jsonl"
    reading = Readings(load_ratio=1)
    recorder = adaspring.Recorder(path, Played(*[reading] * 100), clock=Clock())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    said = r"day\.jsonl cannot be written: .*; the recording ends here"
    try:
        recorder.read()
        recorder.read()
        with pytest.raises(TraceError, match=said):
            recorder.read()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert recorder.read() == reading
    assert len(read_trace(path)) == 2  # and a part of the third
    assert path.stat().st_size == 100


def test_a_closed_recorder_hands_on_what_it_reads(tmp_path):
    recorder = adaspring.Recorder(tmp_path / "day.jsonl", Played(Readings(load_ratio=1)))
    recorder.close()
    assert recorder.read().load_ratio == 1
    assert (tmp_path / "day.jsonl").read_bytes() == HEADER


@pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf"), "fast", None])
def test_a_speed_that_is_none_is_refused(tmp_path, speed):
    with pytest.raises(UsageError, match="speed is"):
        adaspring.Replay(trace(tmp_path, '{"time_s":0}'), speed=speed)


@quick
@given(content=st.binary(max_size=200))
def test_any_bytes_are_a_trace_or_refused(tmp_path, content):
    path = tmp_path / "any"
    for data in (content, HEADER + content, HEADER + b'{"time_s":0}\n' + content):
        path.write_bytes(data)
        try:
            found = read_trace(path)
        except TraceError as error:
            found = str(error).splitlines()[:1]
        assert len(found) >= 1


numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)


@quick
@given(values=st.fixed_dictionaries({}, optional={
    "battery_ratio": numbers, "load_ratio": numbers, "metric_floor": numbers,
    "on_mains": st.booleans() | st.none(), "time_s": numbers, "calls_per_s": numbers,
}))  # fmt: skip
def test_what_a_trace_holds_is_a_context_or_refused(tmp_path, values):
    path = trace(tmp_path, json.dumps({"time_s": 0.0, **values}))
    try:
        replay = adaspring.Replay(path)
    except TraceError:
        return
    assert adaspring.Context.now(sensors=replay).metric_floor == values.get("metric_floor")
