"""What `adaspring logs` says of tuning logs, and what it does to them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adaspring.backends.tuning.log.log import TuningLog
from adaspring.cli.compile import plan_data

from ..support.cli import adaspring, answer, exported, refused
from ..support.logs import ORIGIN, fill, product, split_by
from ..support.networks import Mlp


@pytest.fixture
def log(tmp_path):
    folder = tmp_path / "tuning_logs" / "host"
    fill(folder, range(2, 5))
    fill(folder, range(5, 7), origin=replace(ORIGIN, board="pi", emulated=True).by("sketch"))
    fill(folder, range(8, 9), extent=32, origin=None)
    TuningLog(folder).add_lost(product(64), split_by(product(64), 32), "run: crashed", ORIGIN)
    TuningLog(folder).add_lost(product(16), split_by(product(16), 8), "run: crashed", ORIGIN)
    return folder


def test_a_log_is_shown_function_by_function_the_slowest_first(log):
    shown = answer("logs", "show", log)
    assert (shown["records_count"], shown["lost_count"]) == (6, 2)
    small, large, untimed = shown["functions"]
    assert large["blocks"] == ["product", "rectified"]
    assert (large["main_block"], large["shape"], large["reduced_shape"]) == (
        "product", [64, 16], [32],
    )  # fmt: skip
    assert large["dtype"] == "float32"
    assert (large["records_count"], large["lost_count"]) == (5, 1)
    assert large["best_ms"] == pytest.approx(0.02)
    assert large["noise_ratio"] == pytest.approx(0.5)
    assert large["tuners"] == {"sketch": 2, "template": 3}
    assert large["boards"] == {"host": 3, "pi (emulated)": 2}
    assert large["tvm_versions"] == {ORIGIN.tvm_version: 5}
    assert (small["shape"], small["best_ms"]) == ([32, 16], pytest.approx(0.08))
    assert (small["tuners"], small["boards"]) == ({"unknown": 1}, {"unknown": 1})
    assert (untimed["best_ms"], untimed["noise_ratio"], untimed["lost_count"]) == (None, None, 1)

    people = adaspring("logs", "show", log).stdout
    assert large["hash"][:8] in people
    assert "64x16" in people
    assert "50.0 %" in people
    assert "3 functions, 6 records, 2 lost candidates" in people


def test_logs_are_merged_and_shortened(log, tmp_path):
    fill(tmp_path / "other", range(4, 10))
    merged = answer("logs", "merge", log, tmp_path / "other", "-o", tmp_path / "both")
    assert merged == {
        "output": str(tmp_path / "both"),
        "functions_count": 3,
        "records_count": 11,
        "lost_count": 2,
    }
    again = adaspring("logs", "merge", tmp_path / "other", log, "-o", tmp_path / "again")
    assert "3 functions, 11 records, 2 lost candidates, of 2 logs" in " ".join(again.stdout.split())
    for path in (tmp_path / "both").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()

    done = answer("logs", "compact", tmp_path / "both", "--keep", 2)
    assert (done["records_before_count"], done["records_count"]) == (11, 4)
    assert len(TuningLog(tmp_path / "both").records(product(64))) == 3
    people = adaspring("logs", "compact", tmp_path / "both", "--keep", 1).stdout
    assert "3 of 4 records and 2 of 2 lost candidates kept" in " ".join(people.split())


def test_a_boards_name_stands_for_the_users_own_log(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    own = tmp_path / "adaspring" / "logs" / "host"
    fill(own, range(2, 5))
    assert answer("logs", "show", "host")["log"] == str(own)
    assert answer("logs", "compact", "host", "--keep", 1)["records_count"] == 1
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "host", range(2, 4))  # a folder that is there comes first
    assert answer("logs", "show", "host")["records_count"] == 2


@pytest.mark.parametrize("command", [("show",), ("compact",), ("merge", "-o", "new")])
def test_what_is_no_log_is_refused(command, log, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(adaspring("logs", *command, "none"), "none: no such folder", "a board that was tuned")
    (tmp_path / "empty").mkdir()
    refused(adaspring("logs", *command, "empty"), "empty is not a tuning log", "records.jsonl")
    refused(adaspring("logs", *command, "tuning_logs"), "did you mean tuning_logs/host?")
    assert list((tmp_path / "empty").iterdir()) == []
    assert not (tmp_path / "new").exists()

    records = log / "records.jsonl"
    whole = records.read_bytes()
    records.write_bytes(whole.replace(b"Parallel", b'Par"llel', 1))
    refused(adaspring("logs", *command, log), "records.jsonl, line 1 is damaged", "Delete that")
    records.unlink()
    records.mkdir()
    refused(adaspring("logs", *command, log), "is not a tuning log")


def test_a_merge_needs_a_new_folder(log, tmp_path):
    result = adaspring("logs", "merge", log, "-o", log)
    refused(result, "exists; merge into a new folder", status=2)
    result = adaspring("logs", "compact", log, "--keep", 0)
    assert result.exit_code == 2


def test_a_file_that_may_not_be_read_is_named(log, monkeypatch):
    from adaspring.backends.tuning.log import files as log_files

    def forbidden(path, *rest):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(log_files.os, "open", forbidden)
    refused(adaspring("logs", "show", log), "cannot be read", "Permission denied", "records.jsonl")


def test_the_plan_of_a_compilation_counts_known_and_shipped_records(log, tmp_path, monkeypatch):
    fill(tmp_path / "shipped", range(2, 6))
    monkeypatch.setattr(plan_data, "shipped_logs", lambda board: (tmp_path / "shipped",))
    arguments = ("compile", exported(Mlp, ".pt2"), "--logs", log.parent, "-o", tmp_path / "l")
    (board,) = answer(*arguments, "--dry-run")["boards"]
    assert (board["known_records_count"], board["shipped_records_count"]) == (6, 4)
    assert "6 + 4" in adaspring(*arguments, "--dry-run").stdout
