"""compile → inspect → run → bench → bench --switch, on real files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ..support.cli import adaspring, answer, exported, measure_briefly, mlp_data
from ..support.networks import ALL, Mlp, SmallCnn, TwoInputs, example_inputs

pytestmark = pytest.mark.slow


class DecidedCnn(SmallCnn):
    """A SmallCnn whose answers differ from sample to sample."""

    def __init__(self) -> None:
        super().__init__(seed=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A library of DecidedCnn for the host, from its own labels, and what compile answered."""
    folder = tmp_path_factory.mktemp("made")
    rng = np.random.default_rng(7)
    x = rng.standard_normal((100, 3, 32, 32)) * rng.uniform(0, 2, (100, 3, 1, 1))
    x = (x + 3 * rng.standard_normal((100, 3, 1, 1))).astype(np.float32)
    with torch.inference_mode():
        y = DecidedCnn()(torch.from_numpy(x)).argmax(1).numpy()
    assert len(set(y)) > 3
    np.savez(folder / "data.npz", x=x, y=y)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        measure_briefly(patch)
        result = answer(
            "compile", exported(DecidedCnn, ".pt2"), "--data", "data.npz", "--trials", 4,
            "--max-drop", 0.5, "--keep-dominated", "-o", folder / "cnn.lib",
            "--recipe", "pruned-half", "--recipe", "factorized", "--recipe", "int8",
            "--logs", "tuning_logs",
        )  # fmt: skip
    return folder, result


def test_compile_answers_what_it_made(made):
    folder, result = made
    (board,) = result["boards"]
    assert board["name"] == "host"
    assert board["error"] is None
    assert board["measured_here"]
    assert board["tuning"]["measured_count"] + len(board["tuning"]["failed"]) == 4
    dense, *others = board["variants"]
    assert dense["name"] == "dense"
    assert dense["ratio_to_dense"] == 1
    assert dense["cost"]["metric"]["value"] == 1  # the labels are the network's own answers
    assert dense["cost"]["latency_p50_ms"]["origin"] == "measured"
    assert dense["agreement"]["max_error_ratio"] < 1e-5
    assert others, "no compressed variant entered the library"
    names = [v["name"] for v in board["variants"]] + [d["name"] for d in board["dropped"]]
    assert sorted(names) == ["dense", "factorized", "int8", "pruned-half"]
    assert all(entry["reason"] for entry in board["dropped"])
    found = sorted(path.name for path in folder.iterdir())
    assert found == ["cnn.lib", "data.npz", "tuning_logs"]


def test_inspect_shows_what_compile_made(made):
    folder, result = made
    shown = answer("inspect", folder / "cnn.lib", "--decisions")
    assert shown["verified"]
    assert shown["runs_here"]
    assert shown["board"]["name"] == "host"
    assert shown["inputs"][0]["shape"] == [1, 3, 32, 32]
    made_names = [variant["name"] for variant in result["boards"][0]["variants"]]
    assert [variant["name"] for variant in shown["variants"]] == made_names
    for variant in shown["variants"][1:]:
        layers = {decision["layer"] for decision in variant["decisions"]}
        assert {"conv1", "conv2", "fc1", "fc2"} <= layers
    people = adaspring("inspect", folder / "cnn.lib", "--decisions").stdout
    assert "runs on this machine" in people
    assert "layer by layer" in people
    assert "decisions" not in answer("inspect", folder / "cnn.lib")["variants"][0]


def test_run_gives_the_networks_outputs_and_accuracy(made):
    folder, _ = made
    output = folder / "out" / "y.npz"
    output.parent.mkdir()
    shown = answer("run", folder / "cnn.lib", "--input", folder / "data.npz", "--output", output)
    output_name = shown["outputs"][0]["name"]
    with np.load(folder / "data.npz") as data, np.load(output) as written:
        x, y, found = data["x"], data["y"], written[output_name]
    with torch.inference_mode():
        expected = DecidedCnn()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    assert shown["variant"] == "dense"
    assert shown["accuracy"] == 1
    assert shown["top1"] == y.tolist()
    assert not shown["random_inputs"]
    assert [path.name for path in output.parent.iterdir()] == ["y.npz"]
    assert "accuracy: 100.0 %" in adaspring(
        "run", folder / "cnn.lib", "--input", folder / "data.npz", "--samples", 10
    ).stdout  # fmt: skip


def test_run_without_inputs_says_that_they_are_random(made):
    folder, _ = made
    shown = answer("run", folder / "cnn.lib", "--samples", 3)
    assert shown["random_inputs"]
    assert shown["samples_count"] == 3
    assert shown["accuracy"] is None
    assert "3 random samples" in adaspring("run", folder / "cnn.lib", "--samples", 3).stdout


def test_bench_times_every_variant_in_turn(made):
    folder, result = made
    shown = answer("bench", folder / "cnn.lib", "--seconds", 0.3)
    assert [v["name"] for v in shown["variants"]] == [
        v["name"] for v in result["boards"][0]["variants"]
    ]
    for variant in shown["variants"]:
        assert 0 < variant["p50_ms"] <= variant["p90_ms"]
        assert variant["calls_count"] >= 25
    assert shown["variants"][0]["ratio_to_plainest"] == 1


def test_switching_takes_less_than_a_millisecond(made):
    folder, _ = made
    shown = answer("bench", folder / "cnn.lib", "--switch", "--seconds", 0.3)
    assert shown["switches_count"] >= 2000
    assert len(shown["variants"]) >= 2
    assert 0 < shown["total_p50_us"] < 1000
    assert shown["total_p50_us"] <= shown["total_p99_us"]
    assert {first["variant"] for first in shown["first_inference"]} == set(shown["variants"])
    assert all(first["first_p50_ms"] > 0 for first in shown["first_inference"])


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
@pytest.mark.parametrize("make", ALL, ids=lambda make: make.__name__)
def test_compiled_networks_answer_as_torch_does(make, suffix, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    measure_briefly(monkeypatch, seconds=0.01)
    path = exported(make, suffix)
    answer("compile", path, "--trials", 0, "--recipe", "dense", "-o", tmp_path / "lib")
    specs = answer("inspect", tmp_path / "lib")["inputs"]
    inputs = example_inputs(make(), seed=5)
    names = [spec["name"] for spec in specs]
    np.savez("in.npz", **{n: x.numpy() for n, x in zip(names, inputs, strict=True)})
    shown = answer("run", tmp_path / "lib", "--input", "in.npz", "--output", "out.npz")
    with torch.inference_mode():
        expected = make()(*inputs)
    expected = expected if isinstance(expected, tuple) else (expected,)
    with np.load("out.npz") as written:
        for output, wanted in zip(shown["outputs"], expected, strict=True):
            found, wanted = written[output["name"]], wanted.numpy()
            assert found.shape == wanted.shape
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * abs(wanted).max())


@pytest.mark.usefixtures("aarch64_linker")
def test_several_boards_come_out_of_one_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    measure_briefly(monkeypatch)
    result = answer(
        "compile", exported(Mlp, ".pt2"), "--target", "host", "--target", "raspberry-pi-5",
        "--recipe", "dense", "--trials", 0, "-o", "libs",
    )  # fmt: skip
    host, pi = result["boards"]
    assert (host["output"], pi["output"]) == ("libs/host", "libs/raspberry-pi-5")
    assert pi["measured_here"] is False
    assert pi["variants"][0]["cost"]["latency_p50_ms"] is None
    assert any("raspberry-pi-5 is not this machine" in note for note in result["notes"])
    assert any("no --data" in note for note in result["notes"])
    shown = answer("inspect", "libs/raspberry-pi-5")
    assert shown["verified"]
    assert not shown["runs_here"]


def test_a_dry_run_decides_everything_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = mlp_data(tmp_path / "data.npz")
    arguments = ("compile", exported(Mlp, ".pt2"), "--data", data, "-o", "mlp.lib", "--dry-run")
    plan = answer(*arguments, "--target", "host", "--target", "jetson-orin", "--trials", 50)
    assert [path.name for path in tmp_path.iterdir()] == ["data.npz"]
    assert plan["data"] == {
        "source": str(data), "seed": 0, "calibration": None,
        "calibration_count": 12, "validation_count": 24, "test_count": 24,
    }  # fmt: skip
    judged = [plan[key] for key in ("metric", "direction", "against", "max_drop", "min_metric")]
    assert judged == ["top1", "higher", "labels", 0.02, None]
    assert plan["macs_count"] == 64 * 128 + 128 * 64 + 64 * 10
    host, jetson = plan["boards"]
    assert (host["trials_count"], jetson["trials_count"]) == (50, 0)
    assert jetson["output"] == "mlp.lib/jetson-orin"
    for recipe in plan["recipes"][1:]:
        if recipe["skipped"] is None:
            decided = {decision["layer"] for decision in recipe["decisions"]}
            assert {"fc1", "fc2", "fc3"} <= decided
    kept = [d for r in plan["recipes"] for d in r["decisions"] if d["action"] == "kept"]
    assert all("kept, " in decision["detail"] for decision in kept)
    people = adaspring(*arguments).stdout
    assert "dry run: nothing was built or written" in people
    assert "metric   top1, higher is better, against the labels" in people
    assert "bounds   top1 may fall by 2.0 points" in people


def test_a_dry_run_without_data_says_which_recipes_are_skipped(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = answer("compile", exported(Mlp, ".onnx"), "-o", "mlp.lib", "--dry-run")
    assert plan["data"] is None
    reasons = {recipe["name"]: recipe["skipped"] for recipe in plan["recipes"]}
    assert reasons["dense"] is None
    assert "needs calibration data; give --data" in reasons["int8"]
    assert "what it loses cannot be checked" in reasons["pruned-half"]
    assert any("no --data" in note and "int8" in note for note in plan["notes"])


def test_without_data_a_recipe_that_needs_none_is_tried_where_it_is_asked_for(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    network = exported(Mlp, ".onnx")
    plan = answer("compile", network, "-o", "l", "--recipe", "pruned-half", "--dry-run")
    assert [(r["name"], r["skipped"]) for r in plan["recipes"]] == [
        ("dense", None),
        ("pruned-half", None),
    ]


def test_json_alone_is_on_stdout_where_a_factory_prints(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("noisy_factory.py").write_text(
        "import torch\n"
        "def make():\n"
        "    print('hello')\n"
        "    return torch.nn.Sequential(torch.nn.Linear(4, 3)).eval(), torch.zeros(1, 4)\n"
    )
    result = adaspring(
        "compile", "noisy_factory:make", "-o", "l", "--dry-run", "--recipe", "dense", "--json"
    )
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["inputs"][0]["shape"] == [1, 4]
    assert "hello" in result.stderr


def test_several_inputs_and_a_batch_that_does_not_divide(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    measure_briefly(monkeypatch, seconds=0.01)
    answer(
        "compile",
        exported(TwoInputs, ".pt2"),
        "--trials",
        0,
        "--recipe",
        "dense",
        "-o",
        tmp_path / "two",
    )
    specs = answer("inspect", tmp_path / "two")["inputs"]
    rng = np.random.default_rng(3)
    arrays = {s["name"]: rng.standard_normal((5, *s["shape"][1:]), dtype=np.float32) for s in specs}
    np.savez("in.npz", **arrays)
    shown = answer("run", tmp_path / "two", "--input", "in.npz", "--output", "out.npz")
    with torch.inference_mode():
        expected = TwoInputs()(*(torch.from_numpy(array) for array in arrays.values()))
    with np.load("out.npz") as written:
        for output, wanted in zip(shown["outputs"], expected, strict=True):
            np.testing.assert_allclose(written[output["name"]], wanted, rtol=1e-4, atol=1e-5)
