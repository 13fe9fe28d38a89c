"""`adaspring retrain` compresses, trains, says what it gained, and writes what compile reads."""

import json
from pathlib import Path

import numpy as np
import pytest

from adaspring.cli.retrain import run as retrain_run
from adaspring.frontend import load_model
from adaspring.frontend.data import Dataset
from adaspring.passes import Quantize
from adaspring.reference.executor import accuracy, evaluate
from adaspring.training import pt2_bytes

from ..support.cli import adaspring, answer, refused
from ..support.training import part, wide

pytestmark = pytest.mark.slow


def save(path: Path, samples: Dataset) -> Path:
    labels = {} if samples.labels is None else {"y": samples.labels}
    np.savez(path, x=samples.inputs[0], **labels)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("retrain")
    (folder / "net.pt2").write_bytes(pt2_bytes(wide()))
    return {
        "net": folder / "net.pt2",
        "train": save(folder / "train.npz", part(0, 600)),
        "held": save(folder / "held.npz", part(1000, 1300)),
        "bare": save(folder / "bare.npz", part(0, 600, labels=False)),
        "bare_held": save(folder / "bare_held.npz", part(1000, 1300, labels=False)),
    }


def command(files, out: Path, *more: object, train="train", held="held") -> list[object]:
    given = ["retrain", files["net"], "--data", files[train], "--validation", files[held]]
    return [*given, "--epochs", 3, "--batch", 30, "-o", out, *more]


def held_accuracy(model) -> float:
    held = part(1000, 1300)
    return accuracy(evaluate(model, held)[0], held.labels)


def test_a_pruned_network_is_brought_back_and_written_for_compile(files, tmp_path):
    out = tmp_path / "out.pt2"
    found = answer(*command(files, out, "--recipe", "pruned-half", "--learning-rate", 0.003))
    assert found["macs_count_after"] < found["macs_count_before"]
    assert found["retrained_metric"] >= found["compressed_metric"]
    assert held_accuracy(wide()) == found["dense_metric"]
    assert held_accuracy(load_model(out)) == pytest.approx(found["retrained_metric"])
    assert found["history"][found["best_epoch"]]["validation_metric"] == (found["retrained_metric"])
    assert any(text.startswith("conv1") and "16" in text for text in found["decisions"])


def test_a_time_limit_is_said_with_the_time_of_an_epoch(files, tmp_path):
    result = adaspring(*command(files, tmp_path / "out.pt2", "--time-limit", "1h"))
    assert result.exit_code == 0, result.stderr
    assert "an epoch of 20 steps takes about" in result.stderr
    assert "60 min are enough for 3 epochs" in result.stderr
    assert "all 3 epochs are done" in result.stdout


def test_quantization_aware_training_writes_the_float_network(files, tmp_path):
    out = tmp_path / "out.pt2"
    found = answer(*command(files, out, "--recipe", "int8", "--qat"))
    written = load_model(out)
    assert {array.dtype.kind for array in written.weights.values()} == {"f"}
    assert any("int8" in text for text in found["decisions"])
    calibration = part(0, 128)
    again = Quantize()
    quantized = again.apply(written, again.plan(written, calibration))
    assert held_accuracy(quantized) == pytest.approx(found["retrained_metric"], abs=0.03)


def test_distillation_needs_no_labels(files, tmp_path):
    out = tmp_path / "out.pt2"
    more = ("--recipe", "pruned-half", "--distil")
    found = answer(*command(files, out, *more, train="bare", held="bare_held"))
    assert (found["metric"], found["against"], found["dense_metric"]) == ("agreement", "dense", 1)
    assert found["retrained_metric"] > found["compressed_metric"]
    assert found["history"][-1]["validation_loss"] <= found["history"][0]["validation_loss"]
    assert out.is_file()


def test_people_see_before_and_after(files, tmp_path):
    result = adaspring(*command(files, tmp_path / "out.pt2"))
    assert result.exit_code == 0, result.stderr
    for words in ("before compression", "compressed", "retrained", "best in epoch", "wrote"):
        assert words in result.stdout


def test_a_dry_run_prints_the_decisions_and_writes_nothing(files, tmp_path):
    out = tmp_path / "out.pt2"
    found = answer(*command(files, out, "--recipe", "pruned-half", "--dry-run"))
    assert found["decisions"]
    assert "epochs=3" in found["settings"]
    assert list(tmp_path.iterdir()) == []


def test_a_run_goes_on_from_its_checkpoints(files, tmp_path, monkeypatch):
    arguments = command(files, tmp_path / "out.pt2", "--checkpoints", tmp_path / "kept")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(retrain_run, "pt2_bytes", interrupt)
    stopped = adaspring(*arguments)
    assert stopped.exit_code == 130
    assert f"{tmp_path / 'kept'} keeps the run" in stopped.stderr
    monkeypatch.undo()
    assert answer(*arguments)["history"][-1]["epoch"] == 3
    assert (tmp_path / "out.pt2").is_file()


def test_a_process_that_torchrun_started_joins_its_group(files, tmp_path, monkeypatch):
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "MASTER_PORT": port}
    for name, value in (variables | {"MASTER_ADDR": "127.0.0.1"}).items():
        monkeypatch.setenv(name, str(value))
    assert answer(*command(files, tmp_path / "out.pt2"))["history"][-1]["epoch"] == 3
    refused(
        adaspring(*command(files, tmp_path / "out.pt2", "--nproc", 2)),
        "torchrun started this one",
        status=2,
    )


def test_two_processes_write_one_file(files, tmp_path):
    out = tmp_path / "out.pt2"
    found = answer(*command(files, out, "--nproc", 2, "--recipe", "pruned-half"))
    alone = answer(*command(files, tmp_path / "alone.pt2", "--recipe", "pruned-half"))
    for ours, theirs in zip(found["history"], alone["history"], strict=True):
        assert ours["validation_loss"] == pytest.approx(theirs["validation_loss"], rel=1e-3)
    assert held_accuracy(load_model(out)) == pytest.approx(found["retrained_metric"], abs=0.01)


@pytest.mark.parametrize(
    ("more", "words", "status"),
    [
        (("--recipe", "int8"), ("int8 quantizes", "--qat"), 2),
        (("--recipe", "bf16"), ("bf16 rounds weights", "compile with --recipe bf16"), 2),
        (("--recipe", "nosuch"), ("nosuch", "pruned-half"), 2),
        (("--batch", "5000"), ("600 samples", "smaller batch"), 1),
        (("--learning-rate", "-1"), ("learning_rate", "above 0"), 2),
        (("--time-limit", "soon"), ("--time-limit", "'soon'", "10m"), 2),
        (("--time-limit", "0s"), ("--time-limit", "not a duration"), 2),
        (("-o", "nofolder/out.pt2"), ("nofolder", "does not exist"), 2),
        (("-o", "out.onnx"), ("out.onnx", ".pt2"), 2),
        (("--shape", "x"), ("--shape",), 2),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else str(value),
)
def test_wrong_use_is_refused_in_one_line(files, tmp_path, more, words, status):
    refused(adaspring(*command(files, tmp_path / "out.pt2", *more)), *words, status=status)
    assert list(tmp_path.iterdir()) == []


def test_data_without_labels_are_refused_with_what_to_do(files, tmp_path):
    result = adaspring(*command(files, tmp_path / "o.pt2", train="bare", held="bare_held"))
    refused(result, "no labels", "distil")


def test_a_loss_that_diverges_is_reported_in_one_line(files, tmp_path):
    arguments = command(files, tmp_path / "out.pt2", "--learning-rate", 9e5, "--epochs", 30)
    refused(
        adaspring(*arguments, "--patience", 30), "the loss is", "in step", "lower learning rate"
    )
    assert json.dumps([path.name for path in tmp_path.iterdir()]) == "[]"
