"""Any metric on the command line: into a library and out; what is wrong is said in one line."""

import numpy as np
import pytest
import torch

from ..support.cli import adaspring, answer, exported, measure_briefly, refused, save_data
from ..support.networks import Mlp

MODULE = """
import numpy as np
import torch.nn.functional as F

def pairs():
    x = np.random.default_rng(3).standard_normal((60, 64), dtype=np.float32)
    return x, [{"sum": float(row.sum())} for row in x]

def far(outputs, targets):
    wanted = np.array([each["sum"] for each in targets])
    return np.abs(outputs.sum(axis=1) - wanted)
far.higher_is_better = False

def undecided(outputs, targets):
    return 0.0

def loss(outputs, targets):
    return F.mse_loss(outputs, targets)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a module of the user's, and pairs of samples and outputs."""
    monkeypatch.chdir(tmp_path)
    measure_briefly(monkeypatch, seconds=0.01)
    (tmp_path / "mine_of_cli.py").write_text(MODULE)
    path = save_data(tmp_path / "pairs.npz", (64,))
    with np.load(path) as data, torch.inference_mode():
        x = data["x"]
        y = Mlp()(torch.from_numpy(x)).numpy()
    np.savez(path, x=x, y=y + np.float32(0.01))
    return tmp_path


@pytest.mark.slow
def test_an_error_goes_into_a_library_and_out_again(folder):
    made = answer(
        "compile", exported(Mlp, ".pt2"), "--data", "pairs.npz", "--metric", "mse", "--max-drop",
        10, "--recipe", "int8", "--keep-dominated", "--trials", 0, "-o", "mlp.lib",
    )  # fmt: skip
    assert any(note.startswith("judged by mse, lower is better") for note in made["notes"])
    dense = made["boards"][0]["variants"][0]["cost"]["metric"]
    assert dense["value"] == pytest.approx(1e-4, rel=1e-2)
    assert (dense["name"], dense["direction"], dense["against"]) == ("mse", "lower", "labels")
    shown = adaspring("inspect", "mlp.lib").stdout
    assert "mse" in shown
    assert "lower is better" in shown
    assert answer("run", "mlp.lib", "--input", "pairs.npz")["accuracy"] is None


def test_a_plan_tells_metric_calibration_and_bounds(folder):
    save_data(folder / "others.npz", (64,), count=9)
    model = exported(Mlp, ".pt2")
    asked = ("compile", model, "--data", "mine_of_cli:pairs", "--metric", "mine_of_cli:far",
             "--max-drop", 3, "--min-metric", 500, "--calibration", "others.npz",
             "--recipe", "int8", "-o", "l", "--dry-run")  # fmt: skip
    plan = answer(*asked)
    assert [plan[key] for key in ("metric", "direction", "max_drop", "min_metric")] == [
        "mine_of_cli:far", "lower", 3, 500,
    ]  # fmt: skip
    counts = [plan["data"][f"{part}_count"] for part in ("calibration", "validation", "test")]
    assert counts == [9, 30, 30]
    shown = adaspring(*asked).stdout
    assert "mine_of_cli:far may rise by 3" in shown
    assert "no worse than 500" in shown


def test_without_labels_it_is_said_what_is_right(folder):
    save_data(folder / "bare.npz", (64,))
    asked = ("compile", exported(Mlp, ".pt2"), "--data", "bare.npz", "--recipe", "int8", "-o", "l")
    shown = adaspring(*asked, "--dry-run").stdout
    assert "agreement, higher is better, against what the dense network answers" in shown
    assert "12 samples to calibrate" in shown


@pytest.mark.slow
def test_retraining_takes_a_loss_and_a_metric(folder):
    found = answer(
        "retrain", exported(Mlp, ".pt2"), "--data", "pairs.npz", "--validation", "pairs.npz",
        "--recipe", "pruned-half", "--metric", "mse", "--loss", "mine_of_cli:loss",
        "--epochs", 4, "--batch", 20, "-o", "out.pt2",
    )  # fmt: skip
    assert (found["metric"], found["direction"]) == ("mse", "lower")
    assert found["dense_metric"] == pytest.approx(1e-4, rel=1e-2)
    assert found["retrained_metric"] < found["compressed_metric"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--metric", "acc"), ("no metric named 'acc'", "top1, top5")),
        (("--metric", "mine_of_cli:undecided"), ("undecided.higher_is_better = True",)),
        (("--metric", "mine_of_cli:missing"), ("mine_of_cli:missing", "AttributeError")),
        (("--metric", "mse"), ("--max-drop", "--min-metric")),
        (("--metric", "top1", "--max-drop", "2"), ("one class number",)),
        ((), ("not class numbers", "--metric")),
        (("--metric", "cosine", "--loss", "mine_of_cli:loss"), ("--loss needs --retrain",)),
    ],
)
def test_what_is_wrong_with_a_metric_is_said_in_one_line(folder, options, words):
    asked = ("compile", exported(Mlp, ".pt2"), "--data", "pairs.npz", "-o", "l", "--dry-run")
    result = adaspring(*asked, *options)
    refused(result, *words, status=result.exit_code)
    assert result.exit_code in (1, 2)


def test_what_needs_data_says_so(folder):
    for option in (("--metric", "mse"), ("--calibration", "pairs.npz"), ("--min-metric", "1")):
        result = adaspring("compile", exported(Mlp, ".pt2"), "-o", "l", "--dry-run", *option)
        refused(result, f"{option[0]} needs --data", status=2)
