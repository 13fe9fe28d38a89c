"""Runs commands in this process, and makes the files that they take."""

from __future__ import annotations

import json
import warnings
from functools import cache, partial
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import torch
from typer.testing import CliRunner, Result

from adaspring.cli.app import app

from .networks import Mlp, example_inputs


def adaspring(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def answer(*arguments: object) -> dict:
    """The JSON that a command answers; it must succeed."""
    result = adaspring(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def refused(result: Result, *words: str, status: int = 1) -> str:
    """Check that a command failed in one line which holds `words`; that line."""
    assert result.exit_code == status, result.output
    assert result.stdout == ""
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in last
    return last


def measure_briefly(monkeypatch, seconds: float = 0.2) -> None:
    from adaspring.explore import cells
    from adaspring.explore.cells import measure, remote
    from adaspring.explore.measure import local, variants

    monkeypatch.setattr(variants, "measure", partial(local.measure, seconds=seconds))
    monkeypatch.setattr(measure, "run", partial(cells.local.run, seconds=seconds))
    monkeypatch.setattr(remote, "SECONDS", seconds)


@cache
def exported(make: type, suffix: str) -> Path:
    """A network as an .onnx or a .pt2 file."""
    path = Path(mkdtemp()) / f"{make.__name__}{suffix}"
    network = make()
    # torch's exporters warn of their own deprecations
    with warnings.catch_warnings(action="ignore"):
        if suffix == ".pt2":
            torch.export.save(torch.export.export(network, example_inputs(network)), path)
        else:
            inputs = example_inputs(network)
            torch.onnx.export(network, inputs, path, dynamo=False, opset_version=17)
    return path


def save_data(path: Path, shape: tuple[int, ...], labels: object = None, count: int = 60) -> Path:
    """Random samples with given labels, or with none."""
    x = np.random.default_rng(7).standard_normal((count, *shape), dtype=np.float32)
    np.savez(path, x=x, **({} if labels is None else {"y": labels}))
    return path


def mlp_data(path: Path) -> Path:
    """Samples for Mlp, labelled by itself."""
    save_data(path, (64,))
    with np.load(path) as data:
        x = data["x"]
    with torch.inference_mode():
        y = Mlp()(torch.from_numpy(x)).argmax(1).numpy()
    np.savez(path, x=x, y=y)
    return path
