"""Libraries that do not belong together are named, with what differs, in one line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import adaspring
from adaspring.errors import LibraryError, UsageError, WrongBoard

from ...support.libraries import forge
from ...support.opencl import run_python


def renamed(raw: dict) -> None:
    raw["inputs"][0]["name"] = "picture"


def by_another_metric(raw: dict) -> None:
    for variant in raw["variants"]:
        variant["cost"]["metric"].update(name="top5")


def against_dense(raw: dict) -> None:
    for variant in raw["variants"]:
        variant["cost"]["metric"].update(against="dense")


def without_metric(raw: dict) -> None:
    for variant in raw["variants"]:
        variant["cost"].update(metric=None)


def lower_is_better(raw: dict) -> None:
    for made in raw["variants"]:
        for name in ("metric", "validation_metric"):
            if made["cost"][name] is not None:
                made["cost"][name]["direction"] = "lower"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (renamed, "differ in inputs: image: float32 (2, 48), mask: float32 (2, 48) and picture: "),
        (lambda raw: raw["inputs"][0].update(shape=[3, 48]), "mask: float32 (2, 48) and image: "),
        (lambda raw: raw["outputs"][1].update(dtype="float16"), "differ in outputs: "),
        (by_another_metric, "differ in metric: top1 in ratio (higher is better, against labels) "),
        (against_dense, "against labels) and top1 in ratio (higher is better, against dense)"),
        (lower_is_better, "(higher is better, against labels) and top1 in ratio (lower is better"),
        (without_metric, "against labels) and none; load libraries that were compiled from one"),
        (
            lambda raw: raw.update(network_sha256="7" * 64),
            f"differ in their dense network's weights: SHA-256 {'5' * 64} and SHA-256 {'7' * 64}",
        ),
        (
            lambda raw: raw.update(network_sha256=None),
            "changed.lib does not say of which network it is, ",
        ),
        (
            lambda raw: raw["board"].update(name="cpu-board"),
            "are both for cpu-board; load one of them, or compile one for a board of another name",
        ),
    ],
)
def test_what_differs_is_said_of_both(pair, tmp_path, change, words):
    error = refused([pair[0], changed(pair[1], tmp_path, change)])
    assert words in error
    assert "changed.lib" in error


def changed(folder: Path, tmp_path: Path, change: Callable[[dict], object]) -> Path:
    copy = tmp_path / "changed.lib"
    shutil.copytree(folder, copy)
    forge(copy, change)
    return copy


def refused(paths: list) -> str:
    with pytest.raises(UsageError) as caught:
        adaspring.load(paths)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_list_of_fewer_than_two_is_refused(pair):
    assert refused([]).startswith("0 libraries are given in a list; give two or more")
    assert refused([pair[0]]).startswith("1 libraries are given in a list; give two or more, or ")


def test_a_path_that_is_given_twice_is_refused_however_it_is_written(pair, tmp_path):
    link = tmp_path / "link.lib"
    link.symlink_to(pair[0])
    for again in (pair[0], pair[0].parent / "gpu.lib" / ".." / "cpu.lib", link):
        both = f"{pair[0]} and {again} are one library; give each once"
        assert refused([*pair, again]) == both


def test_one_that_is_missing_is_named_and_the_others_are_closed(pair):
    with pytest.raises(LibraryError, match=r"nowhere\.lib/manifest\.json: no such file|nowhere"):
        adaspring.load([pair[0], pair[1].parent / "nowhere.lib"])


def test_one_for_another_machine_is_named_with_what_to_do(pair, tmp_path):
    other = changed(pair[1], tmp_path, lambda raw: raw["board"].update(cpu_features=["warp"]))
    with pytest.raises(WrongBoard, match=r"changed\.lib: .*uses warp, .*or load the others"):
        adaspring.load([pair[0], other])


def test_one_whose_device_is_not_here_is_named_with_what_to_do(pair, tmp_path):
    """In a process of its own, where no driver of OpenCL is found."""
    gpu = changed(pair[1], tmp_path, lambda raw: raw["board"].update(device="opencl"))
    said = run_python(
        "import adaspring\n"
        f"try:\n    adaspring.load([{str(pair[0])!r}, {str(gpu)!r}])\n"
        "except adaspring.AdaspringError as error:\n    print(type(error).__name__, error)\n",
        OCL_ICD_VENDORS=str(tmp_path),
    )
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith(f"WrongBoard {gpu}: gpu-board computes through OpenCL, and no ")
    assert said.stdout.endswith("; or load the others without it\n")
