from __future__ import annotations

import json
import lzma
import resource
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import tvm_ffi
from tvm.s_tir.meta_schedule.arg_info import ArgInfo
from tvm.s_tir.meta_schedule.database import TuningRecord

from adaspring.backends.tuning.log.compact import compact
from adaspring.backends.tuning.log.log import Origin, TuningLog, trace_key
from adaspring.backends.tuning.log.origin import is_current, tvm_version
from adaspring.cli.shared.faults import explain
from adaspring.errors import BuildError

from ....support.logs import (
    ORIGIN,
    TARGET,
    database,
    every_kind_of_value,
    fill,
    product,
    replay,
    split_by,
)

FILES = ("workloads.jsonl", "records.jsonl", "lost.jsonl")


def times(folder: Path, extent: int = 64) -> list[float]:
    return sorted(TuningLog(folder).measured(product(extent)).values())


def test_what_one_run_adds_another_finds_for_an_equal_function(tmp_path):
    module = product(64)
    trace = split_by(module, 8)
    TuningLog(tmp_path).add(module, trace, [3e-3, 1e-3, 2e-3], TARGET, ORIGIN)

    log, same = TuningLog(tmp_path), product(64, argument="other")
    assert log.measured(same) == {trace_key(trace): 1e-3}
    assert trace_key(log.best(same)) == trace_key(trace)
    (record,) = log.records(same)
    assert record.run_secs == (3e-3, 1e-3, 2e-3)
    assert record.noise_ratio == pytest.approx(1.0)
    assert record.origin == ORIGIN
    (workload,) = log.workloads()
    assert (workload.records_count, workload.best_s) == (1, 1e-3)
    assert tvm_ffi.structural_equal(workload.module, module)
    assert log.measured(product(32)) == {}
    assert log.best(product(32)) is None


def test_records_come_the_fastest_first(tmp_path):
    fill(tmp_path, range(5, 1, -1))
    log = TuningLog(tmp_path)
    assert [r.best_s for r in log.records(product(64))] == pytest.approx([2e-5, 3e-5, 4e-5, 5e-5])
    (workload,) = log.workloads()
    assert [r.best_s for r in log.records(workload, limit=1)] == pytest.approx([2e-5])


def test_metaschedule_reads_what_was_written(tmp_path):
    fill(tmp_path, range(2, 6))
    fill(tmp_path, range(2, 4), extent=32)
    TuningLog(tmp_path).add_lost(product(16), split_by(product(16), 2), "run: crashed", ORIGIN)
    read = database(tmp_path)
    ours = TuningLog(tmp_path).records(product(64))
    theirs = read.get_top_k(read.commit_workload(product(64)), 10)
    assert [trace_key(r.trace) for r in theirs] == [r.key for r in ours]
    assert [[float(s) for s in r.run_secs] for r in theirs] == [list(r.run_secs) for r in ours]
    assert {Origin.from_tag(str(r.target.tag)) for r in theirs} == {ORIGIN}
    assert len(read) == 6


def test_what_metaschedule_wrote_is_read_with_an_unknown_origin_and_goes_on(tmp_path):
    module, trace = product(64), split_by(product(64), 8)
    theirs = database(tmp_path)
    arguments = ArgInfo.from_prim_func(module["main"])
    workload = theirs.commit_workload(module)
    theirs.commit_tuning_record(TuningRecord(trace, workload, [1e-3 / 3], TARGET, arguments))
    failed = split_by(module, 32)
    theirs.commit_tuning_record(TuningRecord(failed, workload, [1e10], TARGET, arguments))

    log = TuningLog(tmp_path)
    (record,) = log.records(module)
    assert (record.key, record.run_secs) == (trace_key(trace), (1e-3 / 3,))
    assert (record.origin, record.tuner) == (None, "unknown")
    assert log.lost(module) == {trace_key(failed)}
    fill(tmp_path, range(2, 4))
    assert len(log.records(module)) == 1
    assert len(TuningLog(tmp_path).records(module)) == 3
    assert len(database(tmp_path)) == 4


def test_a_schedule_is_put_together_as_replaying_would(tmp_path):
    module = product(64)
    made = every_kind_of_value(module)
    simple = split_by(module, 4)
    log = TuningLog(tmp_path)
    for seconds, trace in ((1e-3, made), (2e-3, simple)):
        log.add(module, trace, [seconds], TARGET)
    read = database(tmp_path)
    theirs = read.get_top_k(read.commit_workload(module), 2)
    for ours, reference in zip(TuningLog(tmp_path).records(module), theirs, strict=True):
        assert ours.key == trace_key(reference.trace)
        expected = replay(reference.trace, module)
        assert tvm_ffi.structural_equal(replay(ours.trace, module), expected)


def test_functions_whose_blocks_have_other_names_do_not_share_schedules(tmp_path):
    ours, theirs = product(64), product(64, block="sum")
    assert tvm_ffi.structural_equal(ours, theirs)
    log = TuningLog(tmp_path)
    log.add(ours, split_by(ours, 4), [1e-3], TARGET)
    assert log.best(theirs) is None
    log.add(theirs, split_by(theirs, 8, "sum"), [2e-3], TARGET)
    again = TuningLog(tmp_path)
    replay(again.best(theirs), theirs)
    replay(again.best(ours), ours)
    assert len(database(tmp_path)) == 2


def test_an_origin_survives_its_tag_and_others_tags_are_unknown():
    emulated = replace(ORIGIN, emulated=True, board="raspberry-pi-5").by("sketch")
    assert Origin.from_tag(emulated.tag()) == emulated
    for tag in ("", "some GPU", ORIGIN.tag() + " more=1"):
        assert Origin.from_tag(tag) is None


def test_an_origin_without_a_code_is_of_the_first(tmp_path):
    older = replace(ORIGIN, code=1)
    without = older.tag().replace(" code=1", "")
    assert Origin.from_tag(without) == older
    assert not is_current(older)
    assert not is_current(None)
    assert is_current(ORIGIN)


def test_times_of_older_code_give_way_to_those_of_the_code_of_now(tmp_path):
    older = replace(ORIGIN, code=1)
    fill(tmp_path / "log", range(2, 5), origin=older)
    module, log = product(64), TuningLog(tmp_path / "log")
    keys = {factor: trace_key(split_by(module, factor)) for factor in (2, 4, 8)}
    assert trace_key(log.best(module)) == keys[2]
    assert not log.measured(module), "they are measured anew"
    fill(tmp_path / "log", range(8, 9))  # slower than any of before
    found = TuningLog(tmp_path / "log")
    assert trace_key(found.best(module)) == keys[8]
    assert found.measured(module) == {keys[8]: 8e-5}
    assert [record.key for record in found.records(module)][1] == keys[2]
    compact(tmp_path / "log", 1)
    assert trace_key(TuningLog(tmp_path / "log").best(module)) == keys[8]


def test_a_lost_candidate_is_remembered_for_the_tvm_that_lost_it(tmp_path):
    module = product(64)
    here, elsewhere = split_by(module, 4), split_by(module, 8)
    log = TuningLog(tmp_path)
    log.add_lost(module, here, "run: timed out\nafter 20 s", ORIGIN)
    log.add_lost(module, elsewhere, "build: ...", replace(ORIGIN, tvm_version="0.1"))
    again = TuningLog(tmp_path)
    assert ORIGIN.tvm_version == tvm_version()
    assert log.lost(module) == again.lost(module) == {trace_key(here)}
    (workload,) = again.workloads()
    reasons = [loss.reason for loss in again.losses(workload)]
    assert reasons == ["run: timed out\nafter 20 s", "build: ..."]
    assert again.measured(module) == {}
    assert again.lost(product(32)) == set()


def test_reading_makes_no_folder_and_the_first_write_does(tmp_path):
    folder = tmp_path / "logs" / "host"
    assert TuningLog(folder).workloads() == ()
    assert not folder.parent.exists()
    fill(folder, range(2, 3))
    assert times(folder) == pytest.approx([2e-5])


def test_shipped_records_are_seen_below_ones_own_and_never_written(tmp_path):
    shipped, own = tmp_path / "shipped", tmp_path / "own"
    fill(shipped, range(2, 4))
    fill(shipped, range(2, 4), extent=32)
    before = {path.name: path.read_bytes() for path in shipped.iterdir()}
    log = TuningLog(own, (shipped, tmp_path / "none"))
    assert len(log.workloads()) == 2
    assert len(log.measured(product(64))) == 2
    assert not own.exists()

    module = product(64, argument="other")
    log.add(module, split_by(module, 8), [1e-6], TARGET, ORIGIN)
    for seen in (log, TuningLog(own, (shipped,))):
        assert len(seen.workloads()) == 2
        assert len(seen.measured(product(64))) == 3
        assert seen.records(product(64))[0].best_s == 1e-6
    assert len(TuningLog(own).workloads()) == 1
    assert {path.name: path.read_bytes() for path in shipped.iterdir()} == before
    assert len(TuningLog(shipped, (shipped,)).records(module)) == 2


@pytest.mark.parametrize("name", FILES)
def test_wherever_a_write_was_broken_off_the_log_reads_and_goes_on(name, tmp_path, caplog):
    module = product(32)
    fill(tmp_path, range(2, 4))
    whole = {name: (tmp_path / name).read_bytes() for name in FILES[:2]} | {"lost.jsonl": b""}
    log = TuningLog(tmp_path)
    if name == "records.jsonl":
        log.add(product(64), split_by(product(64), 16), [1e-3], TARGET, ORIGIN)
    else:
        log.add_lost(module, split_by(module, 4), "run: crashed", ORIGIN)
    longer = (tmp_path / name).read_bytes()
    line = len(longer) - len(whole[name])
    for cut in (1, 2, line // 2, line - 2, line - 1):
        for other in FILES:
            (tmp_path / other).write_bytes(whole[other])
        (tmp_path / name).write_bytes(longer[: len(whole[name]) + cut])
        caplog.clear()
        assert times(tmp_path) == pytest.approx([2e-5, 3e-5])
        assert f"{tmp_path / name}: its last record is incomplete and is dropped" in caplog.text
        fill(tmp_path, range(4, 5))
        TuningLog(tmp_path).add_lost(module, split_by(module, 4), "run: crashed", ORIGIN)
        caplog.clear()
        assert times(tmp_path) == pytest.approx([2e-5, 3e-5, 4e-5])
        assert len(TuningLog(tmp_path).lost(module)) == 1
        assert caplog.text == ""
        assert len(database(tmp_path)) == 3


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_line_is_refused_by_file_and_number_and_nothing_is_changed(name, tmp_path):
    fill(tmp_path, range(2, 5))
    fill(tmp_path, range(2, 3), extent=32)
    for factor in (8, 16):
        TuningLog(tmp_path).add_lost(
            product(64), split_by(product(64), factor), "run: crashed", ORIGIN
        )
    lines = (tmp_path / name).read_bytes().splitlines(keepends=True)
    lines[1] = lines[1][:40] + b"\n"
    damaged = b"".join(lines)
    (tmp_path / name).write_bytes(damaged)
    with pytest.raises(BuildError, match=f"cannot be read: {name}, line 2 is damaged") as caught:
        TuningLog(tmp_path)
    remedy = "Copy the file back" if name == "workloads.jsonl" else "Delete that line"
    assert remedy in str(caught.value)
    assert (tmp_path / name).read_bytes() == damaged


def test_a_record_of_a_function_that_is_not_there_is_refused(tmp_path):
    fill(tmp_path, range(2, 4))
    (tmp_path / "workloads.jsonl").write_text("")
    with pytest.raises(BuildError, match=r"records.jsonl, line 1 .*function 0, but .* has 0"):
        TuningLog(tmp_path)


def test_a_schedule_that_is_none_is_refused_by_its_line(tmp_path):
    fill(tmp_path, range(2, 3))
    records = tmp_path / "records.jsonl"
    line = json.loads(records.read_text())
    line[1][0] = [[["NoSuchThing", [], [], []]], []]
    records.write_text(json.dumps(line) + "\n")
    with pytest.raises(BuildError, match=r"records.jsonl, line 1: .*NoSuchThing.*delete that line"):
        TuningLog(tmp_path).best(product(64))


def test_several_tuners_write_to_one_log(tmp_path):
    errors = []

    def write(extents: tuple[int, int], factors: range) -> None:
        try:
            log = TuningLog(tmp_path)
            for factor in factors:
                for extent in extents:
                    module = product(extent)
                    log.add(module, split_by(module, factor), [1e-6 * factor], TARGET, ORIGIN)
        except BaseException as error:
            errors.append(error)

    threads = [
        threading.Thread(target=write, args=((64, 32), range(2, 12))),
        threading.Thread(target=write, args=((32, 64), range(12, 22))),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(TuningLog(tmp_path).workloads()) == 2
    for extent in (64, 32):
        assert times(tmp_path, extent) == pytest.approx([1e-6 * f for f in range(2, 22)])
    assert len(database(tmp_path)) == 40


def test_a_tuner_sees_what_another_wrote_when_it_writes_itself(tmp_path):
    ours = TuningLog(tmp_path)
    fill(tmp_path, range(2, 4))
    module = product(64)
    ours.add(module, split_by(module, 16), [1e-3], TARGET, ORIGIN)
    assert len(ours.measured(module)) == 3
    assert len(ours.workloads()) == 1


@contextmanager
def files_of_at_most(size_bytes: int):
    """As on a full disk: what a write has beyond it is not written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_told_and_leaves_the_log_as_it_was(tmp_path):
    fill(tmp_path, range(2, 4))
    records = tmp_path / "records.jsonl"
    log, module, before = TuningLog(tmp_path), product(64), records.read_bytes()
    line = split_by(module, 8)
    # the function is known already, so its line, which is longer, is not written again
    with (
        files_of_at_most(len(before) + 10),
        pytest.raises(BuildError, match=r"records.jsonl could .*same command goes on") as caught,
    ):
        log.add(module, line, [1e-3], TARGET, ORIGIN)
    assert explain(caught.value).startswith(f"{records} could not be written: the disk is full")
    assert records.read_bytes() == before
    log.add(module, line, [1e-3], TARGET, ORIGIN)
    assert len(times(tmp_path)) == 3


def test_a_log_that_cannot_be_made_says_where(tmp_path):
    (tmp_path / "file").write_text("")
    log = TuningLog(tmp_path / "none")
    (tmp_path / "none").write_text("")
    with pytest.raises(BuildError, match=r"none/records.jsonl could not be written"):
        log.add(product(64), split_by(product(64), 2), [1e-3], TARGET)


def packed(folder: Path) -> Path:
    """A log whose functions are packed, as shipped ones are."""
    fill(folder, range(2, 4))
    plain = folder / "workloads.jsonl"
    file = plain.with_name("workloads.jsonl.xz")
    file.write_bytes(lzma.compress(plain.read_bytes()))
    plain.unlink()
    return file


def test_a_packed_log_is_read_as_a_plain_one_and_takes_no_new_function(tmp_path):
    packed(tmp_path)
    assert times(tmp_path) == pytest.approx([2e-5, 3e-5])
    below = TuningLog(tmp_path / "own", [tmp_path])
    assert below.best(product(64)) is not None
    with pytest.raises(BuildError, match="decompress it with unxz to write here"):
        fill(tmp_path, range(2, 4), extent=32)


@pytest.mark.parametrize("keep", [10, 30, -4])
def test_a_damaged_packed_log_is_refused(tmp_path, keep):
    file = packed(tmp_path)
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(BuildError, match=r"workloads.jsonl.xz is damaged"):
        TuningLog(tmp_path)


def test_a_packed_log_that_decompresses_to_far_more_than_any_log_is_refused(tmp_path, monkeypatch):
    packed(tmp_path)
    monkeypatch.setattr("adaspring.backends.tuning.log.files.MAX_UNPACKED_BYTES", 100)
    with pytest.raises(BuildError, match="decompresses to more than"):
        TuningLog(tmp_path)
