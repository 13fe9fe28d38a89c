"""Logs of several hosts made one, and a long log made short."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tvm.s_tir.meta_schedule.arg_info import ArgInfo
from tvm.s_tir.meta_schedule.database import TuningRecord

from adaspring.backends.tuning.log import files as log_files
from adaspring.backends.tuning.log.compact import compact
from adaspring.backends.tuning.log.contents import Contents, read_contents
from adaspring.backends.tuning.log.log import TuningLog
from adaspring.backends.tuning.log.merge import merge, unite
from adaspring.errors import BuildError, UsageError

from ....support.logs import ORIGIN, TARGET, database, fill, product, split_by

OTHER_HOST = replace(ORIGIN, board="other-host")


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """Three logs: one function is in all, saved as three texts, and some records are in two."""
    root = tmp_path_factory.mktemp("logs")
    ours, theirs, stock = root / "ours", root / "theirs", root / "stock"
    fill(ours, range(2, 8))
    fill(ours, range(2, 4), extent=32)
    fill(theirs, range(5, 9), extent=16)
    log = TuningLog(theirs)
    for factor, origin in ((3, ORIGIN), (4, OTHER_HOST), (5, OTHER_HOST)):
        module = product(64, argument="input")
        log.add(module, split_by(module, factor), [1e-5 * factor, 2e-5 * factor], TARGET, origin)
    for log in (TuningLog(ours), TuningLog(theirs)):
        for factor in (16, 32):
            log.add_lost(product(64), split_by(product(64), factor), "run: crashed", ORIGIN)
    stock.mkdir()
    written = database(stock)
    module = product(64, argument="x")
    arguments = ArgInfo.from_prim_func(module["main"])
    target = TARGET.with_host(TARGET)
    for factor, of in ((2, TARGET), (9, target)):
        workload = written.commit_workload(module)
        times = [1e-5 * factor / 3]
        trace = split_by(module, factor)
        written.commit_tuning_record(TuningRecord(trace, workload, times, of, arguments))
    return ours, theirs, stock


def test_a_merged_log_holds_what_all_hold_once(logs, tmp_path):
    saved = [line for folder in logs for line in read_contents(folder).workloads]
    assert (len({line.module for line in saved}), len({line.hash for line in saved})) == (5, 3)
    merge(logs, tmp_path / "all")
    log = TuningLog(tmp_path / "all")
    every = [record for folder in logs for record in TuningLog(folder).records(product(64))]
    distinct = {(r.key, r.run_secs, r.origin) for r in every}
    assert len(distinct) == len(every) - 1  # factor 3 was copied with its origin
    merged = log.records(product(64))
    assert len(merged) == len(distinct)
    assert {(r.key, r.run_secs, r.origin) for r in merged} == distinct
    least: dict[str, str] = {}  # of the texts of one function, so that no order decides
    for line in saved:
        least[line.hash] = min(line.module, least.get(line.hash, line.module))
    assert {workload.hash: workload.text for workload in log.workloads()} == least
    assert len(log.measured(product(32))) == 2
    assert len(log.lost(product(64))) == 2
    read = database(tmp_path / "all")
    assert len(read) == sum(workload.records_count for workload in log.workloads())
    fastest, *_ = read.get_top_k(read.commit_workload(product(64)), 1)
    ours = min(merged, key=lambda record: record.best_s)  # MetaSchedule knows no code's number
    assert [float(second) for second in fastest.run_secs] == list(ours.run_secs)


def test_neither_order_nor_repetition_changes_a_byte_and_inputs_stay(logs, tmp_path):
    before = [files(folder) for folder in logs]
    merge(logs, tmp_path / "0")
    expected = files(tmp_path / "0")
    for number, order in enumerate(itertools.permutations(logs), start=1):
        merge([*order, order[0]], tmp_path / f"{number}")
        assert files(tmp_path / f"{number}") == expected
    merge([tmp_path / "1", logs[1]], tmp_path / "again")
    assert files(tmp_path / "again") == expected
    assert [files(folder) for folder in logs] == before


def texts(contents: Contents) -> tuple[list[bytes], ...]:
    groups = (contents.workloads, contents.records, contents.lost)
    return tuple([msgspec.json.encode(line, order="sorted") for line in group] for group in groups)


def parts(contents: Contents) -> st.SearchStrategy[Contents]:
    """Logs that hold some of another's lines, in any order and as often as you like."""

    def some(lines):
        return st.lists(st.sampled_from(lines), max_size=8).map(tuple) if lines else st.just(())

    def part(order, records, lost):
        place = {old: new for new, old in enumerate(order)}
        moved = [msgspec.structs.replace(r, workload=place[r.workload]) for r in records]
        return Contents(tuple(contents.workloads[old] for old in order), tuple(moved), lost)

    orders = st.permutations(range(len(contents.workloads)))
    return st.builds(part, orders, some(contents.records), some(contents.lost))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_merging_is_associative_commutative_and_idempotent(logs, data):
    whole = [read_contents(folder) for folder in logs]
    a, b, c = (data.draw(st.one_of(*map(parts, whole))) for _ in range(3))
    expected = texts(unite([a, b, c]))
    assert texts(unite([c, a, b])) == expected
    assert texts(unite([unite([a, b]), c])) == expected
    assert texts(unite([a, unite([b, c])])) == expected
    assert texts(unite([unite([a, b, c]), b])) == expected
    assert texts(unite([a, a])) == texts(unite([a]))


def test_a_log_is_never_merged_over_another(logs, tmp_path):
    fill(tmp_path / "there", range(2, 4))
    before = files(tmp_path / "there")
    with pytest.raises(UsageError, match="there exists; merge into a new folder"):
        merge([logs[0], tmp_path / "there"], tmp_path / "there")
    assert files(tmp_path / "there") == before


def test_a_merge_that_fails_leaves_nothing(logs, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(log_files.os, "fsync", full)
    with pytest.raises(BuildError, match="all could not be written"):
        merge(logs, tmp_path / "all")
    assert list(tmp_path.iterdir()) == []


def test_compacting_keeps_the_fastest_and_the_best_of_every_tuner(tmp_path):
    fill(tmp_path, range(2, 7))
    fill(tmp_path, range(2, 4))  # again, as fast
    fill(tmp_path, range(7, 10), origin=ORIGIN.by("sketch"))
    fill(tmp_path, range(10, 12), origin=None)
    fill(tmp_path, range(4, 6), extent=32)
    done = compact(tmp_path, 3)
    log = TuningLog(tmp_path)
    kept = [(round(1e5 * record.best_s), record.tuner) for record in log.records(product(64))]
    assert kept == [
        (2, "template"), (3, "template"), (4, "template"), (7, "sketch"), (10, "unknown"),
    ]  # fmt: skip
    assert len(log.records(product(32))) == 2
    assert (done.records_before_count, done.records_count) == (14, 7)
    assert len(database(tmp_path)) == 7
    before = files(tmp_path)
    assert compact(tmp_path, 3).records_count == 7
    assert files(tmp_path) == before


def test_compacting_forgets_what_another_tvm_lost_and_says_the_rest_once(tmp_path):
    fill(tmp_path, range(2, 3))
    log, module = TuningLog(tmp_path), product(64)
    here, elsewhere = split_by(module, 8), split_by(module, 16)
    for _ in range(2):
        log.add_lost(module, here, "run: crashed", ORIGIN)
    log.add_lost(module, elsewhere, "run: crashed", replace(ORIGIN, tvm_version="0.1"))
    done = compact(tmp_path, 10)
    assert (done.lost_before_count, done.lost_count) == (3, 1)
    assert len(TuningLog(tmp_path).lost(module)) == 1


def test_a_tuner_goes_on_with_a_log_that_was_compacted_under_it(tmp_path):
    fill(tmp_path, range(2, 12))
    log, module = TuningLog(tmp_path), product(64)
    compact(tmp_path, 2)
    log.add(module, split_by(module, 32), [1e-6], TARGET, ORIGIN)
    for seen in (log, TuningLog(tmp_path)):
        assert [r.best_s for r in seen.records(module)] == pytest.approx([1e-6, 2e-5, 3e-5])


def test_compacting_that_is_killed_leaves_each_file_old_or_new(tmp_path, monkeypatch):
    fill(tmp_path, range(2, 12))
    module = product(64)
    for _ in range(2):
        TuningLog(tmp_path).add_lost(module, split_by(module, 32), "run: crashed", ORIGIN)
    old = files(tmp_path)
    real, replaced = os.replace, []

    def killed_at_the_second(source, target):
        if replaced:
            raise KeyboardInterrupt
        replaced.append(target)
        real(source, target)

    monkeypatch.setattr(os, "replace", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        compact(tmp_path, 2)
    monkeypatch.undo()
    half = files(tmp_path)
    assert half["records.jsonl"] == old["records.jsonl"]
    assert half["lost.jsonl"] == old["lost.jsonl"].splitlines(keepends=True)[0]
    assert len(TuningLog(tmp_path).records(module)) == 10
    compact(tmp_path, 2)
    assert len(TuningLog(tmp_path).records(module)) == 2
    assert set(files(tmp_path)) == set(old)
