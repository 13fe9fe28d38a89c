"""Logs from outside: no time that is none, no JSON without end, no file that is none."""

from __future__ import annotations

import base64
import json
import lzma
from pathlib import Path

import pytest

from adaspring.backends.tuning.log import files
from adaspring.backends.tuning.log.compact import compact
from adaspring.backends.tuning.log.contents import read_contents
from adaspring.backends.tuning.log.lines import LOST, RECORDS, WORKLOADS
from adaspring.backends.tuning.log.log import TuningLog
from adaspring.backends.tuning.log.merge import merge
from adaspring.errors import AdaspringError, BuildError

from ....support import hostile
from ....support.logs import ORIGIN, TARGET, product, split_by

PRODUCT = product(64)
READERS = [
    TuningLog,
    read_contents,
    lambda folder: compact(folder, 1),
    lambda folder: merge([folder], folder.parent / "merged"),
]


@pytest.fixture
def log(tmp_path) -> Path:
    log = TuningLog(tmp_path / "log")
    for factor in (2, 4):
        log.add(PRODUCT, split_by(PRODUCT, factor), [1e-3 * factor], TARGET, ORIGIN)
    log.add_lost(PRODUCT, split_by(PRODUCT, 8), "run: it hung", ORIGIN)
    return log.folder


def edit(file: Path, change) -> None:
    """Change the last line, as JSON."""
    *lines, last = file.read_text().splitlines()
    line = json.loads(last)
    change(line)
    file.write_text("".join(f"{text}\n" for text in (*lines, json.dumps(line))))


@pytest.mark.parametrize("seconds", [0.0, -1e-3, float("nan"), float("inf"), 1e11])
def test_a_time_that_is_none_is_never_recorded(log, seconds):
    before = (log / RECORDS).read_bytes()
    with pytest.raises(BuildError, match="are no times of a schedule"):
        TuningLog(log).add(PRODUCT, split_by(PRODUCT, 16), [1e-3, seconds], TARGET, ORIGIN)
    assert (log / RECORDS).read_bytes() == before


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("seconds", ["0", "-0.0", "-1e-3", "NaN", "Infinity", "1e400", "null"])
def test_a_record_with_a_time_that_is_none_is_refused_with_its_line(log, reader, seconds):
    edit(log / RECORDS, lambda line: line[1].__setitem__(1, ["HERE"]))
    text = (log / RECORDS).read_text().replace('"HERE"', seconds)
    (log / RECORDS).write_text(text)
    with pytest.raises(BuildError, match=rf"{RECORDS}, line 2 is damaged"):
        reader(log)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", hostile.KINDS)
@pytest.mark.parametrize("name", [RECORDS, WORKLOADS, LOST, f"{RECORDS}.xz"])
def test_a_file_that_is_none_is_refused_at_once(log, reader, name, kind):
    if name.endswith(".xz"):
        (log / RECORDS).unlink()
    hostile.put(log / name, kind)
    with pytest.raises(AdaspringError) as caught:
        reader(log)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [RECORDS, WORKLOADS, LOST])
def test_nothing_is_written_to_a_file_that_is_none(log, name):
    opened = TuningLog(log)
    hostile.put(log / name, "pipe")
    with pytest.raises(BuildError, match=name):
        opened.add_lost(product(32), split_by(PRODUCT, 8), "run: it hung", ORIGIN)


@pytest.mark.parametrize("depth", [300, 900, 100_000])
@pytest.mark.parametrize("place", ["trace", "target", "arguments"])
def test_a_record_that_is_nested_without_end_is_refused(log, place, depth):
    at = ["trace", "times", "target", "arguments"].index(place)
    edit(log / RECORDS, lambda line: line[1].__setitem__(at, {"deep": "HERE"}))
    nested = "[" * depth + "]" * depth
    (log / RECORDS).write_text((log / RECORDS).read_text().replace('"HERE"', nested))
    for reader in READERS:
        try:
            opened = reader(log)
        except BuildError:
            continue
        if isinstance(opened, TuningLog):
            assert opened.records(PRODUCT)  # the other line is found all the same


def module_text(text: str) -> str:
    """As TVM saves it: the text after its length, in base64."""
    return base64.b64encode(len(text).to_bytes(8, "little") + text.encode()).decode()


@pytest.mark.parametrize("depth", [300, 5000, 1_000_000])
def test_a_function_that_is_nested_without_end_does_not_reach_tvm(log, depth):
    """TVM's own parser overflows the stack, which ends the process."""
    nested = module_text("[" * depth + "]" * depth)
    edit(log / WORKLOADS, lambda line: line.__setitem__(1, nested))
    (workload,) = TuningLog(log).workloads()
    with pytest.raises(BuildError, match="the function cannot be read"):
        _ = workload.module


@pytest.mark.parametrize("depth", [300, 100_000])
def test_an_index_map_that_is_nested_without_end_does_not_reach_tvm(log, depth):
    nested = '{"a":' + "[" * depth + "]" * depth + "}"
    trace = [[["TransformLayout", ["b0"], [0, 1, nested, None, False], []]], []]
    edit(log / RECORDS, lambda line: line[1].__setitem__(0, trace))
    record = next(r for r in TuningLog(log).records(PRODUCT) if r.where.endswith("line 2"))
    with pytest.raises(BuildError, match="the schedule cannot be read"):
        _ = record.trace


def test_a_packed_file_that_unpacks_without_end_is_refused(log, monkeypatch):
    monkeypatch.setattr(files, "MAX_UNPACKED_BYTES", 1 << 20)
    (log / RECORDS).unlink()
    (log / f"{RECORDS}.xz").write_bytes(lzma.compress(bytes(1 << 21)))
    with pytest.raises(BuildError, match="decompresses to more than 1 MB"):
        TuningLog(log)
