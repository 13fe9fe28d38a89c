"""A run that was killed goes on from its checkpoint to the weights it would have reached."""

import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import adaspring
from adaspring.errors import TrainingError
from adaspring.training import Distillation, train
from adaspring.training.run.checkpoint import Counters, Epoch, State, load, save
from adaspring.training.run.schedule import Schedule

from ...support.passes import fingerprint
from ...support.training import SHORT, learned, losses, part, untrained
from ...support.waiting import eventually


class Killed(Exception):
    """Stands for a signal, in the same process."""


class KillAt:
    """Raises after some steps."""

    def __init__(self, step):
        self.left = step

    def step(self, stage, done, total, detail):
        if self.left == 0:
            raise Killed
        self.left -= 1

    def note(self, text):
        pass


def short(**options):
    return train(untrained(), part(0, 200), part(1000, 1100), SHORT, **options)


def test_a_run_that_was_killed_twice_ends_as_if_it_had_not_been(tmp_path):
    whole = short()
    for steps in (6, 5):
        with pytest.raises(Killed):
            short(checkpoints=tmp_path, progress=KillAt(steps))
    resumed = short(checkpoints=tmp_path)
    assert resumed.history == whole.history
    assert fingerprint(resumed.model) == fingerprint(whole.model)


def test_a_run_goes_on_within_an_epoch(tmp_path, monkeypatch):
    monkeypatch.setattr("adaspring.training.loop.SAVE_EVERY_S", 0.0)
    whole = short()
    with pytest.raises(Killed):
        short(checkpoints=tmp_path, progress=KillAt(6))
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000006"]
    steps = Counting()
    resumed = short(checkpoints=tmp_path, progress=steps)
    assert steps.done[0] == 6
    assert losses(resumed) == pytest.approx(losses(whole), rel=1e-12)
    assert fingerprint(resumed.model) == fingerprint(whole.model)


class Counting:
    """Remembers the steps it was told of."""

    def __init__(self):
        self.done = []

    def step(self, stage, done, total, detail):
        self.done.append(done)

    def note(self, text):
        pass


def test_a_finished_run_is_not_trained_again(tmp_path):
    first = short(checkpoints=tmp_path)
    steps = Counting()
    again = short(checkpoints=tmp_path, progress=steps)
    assert steps.done == []
    assert again.history == first.history
    assert fingerprint(again.model) == fingerprint(first.model)


@pytest.mark.parametrize(
    "other",
    [
        {"settings": replace(SHORT, seed=1)},
        {"model": untrained(seed=1)},
        {"data": part(1, 201)},
        {"teacher": True},
    ],
    ids=["settings", "network", "data", "teacher"],
)
def test_another_runs_checkpoint_is_refused(tmp_path, other):
    short(checkpoints=tmp_path)
    given = {"settings": SHORT, "model": untrained(), "data": part(0, 200)} | other
    teacher = learned().model if given.pop("teacher", False) else None
    if teacher is not None:
        given["settings"] = replace(SHORT, distillation=Distillation())
    with pytest.raises(TrainingError, match="other settings, another network or other data"):
        train(**given, validation=part(1000, 1100), teacher=teacher, checkpoints=tmp_path)


@pytest.mark.parametrize("name", ["weights.safetensors", "best.safetensors", "counters.json"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_checkpoint_is_refused_and_named(tmp_path, name, damage):
    with pytest.raises(Killed):
        short(checkpoints=tmp_path, progress=KillAt(5))
    (folder,) = tmp_path.iterdir()
    file = folder / name
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(TrainingError, match=rf"{folder.name} is damaged .* remove"):
        short(checkpoints=tmp_path)


def state(step):
    epoch = Epoch(epoch=0, loss=None, validation_loss=1.0, validation_metric=None)
    schedule = Schedule(epoch_steps=7, end=21, start=3, phase=0.25)
    counters = Counters(
        run="a run",
        direction="higher",
        schedule=schedule,
        step=step,
        history=[epoch],
        spent_s=1.5,
    )
    tensors = {"a.b": torch.arange(6.0).reshape(2, 3).T}
    return State(counters, tensors, tensors, {"a.b/step": torch.tensor(3.0)})


def test_a_checkpoint_gives_back_what_was_saved(tmp_path):
    save(tmp_path, state(4), 4)
    found = load(tmp_path, "a run")
    assert found.counters == state(4).counters
    torch.testing.assert_close(found.weights["a.b"], state(4).weights["a.b"])
    assert float(found.optimizer["a.b/step"]) == 3.0


def test_a_write_that_was_cut_short_leaves_the_checkpoint_before(tmp_path):
    save(tmp_path, state(4), 4)
    shutil.copytree(tmp_path / "step-000000004", tmp_path / "step-000000009.partial")
    (tmp_path / "step-000000009.partial" / "weights.safetensors").unlink()
    assert load(tmp_path, "a run").counters.step == 4
    save(tmp_path, state(12), 12)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000012"]


SCRIPT = """
from pathlib import Path
import sys, torch
sys.path.insert(0, sys.argv[2])
from adaspring.training import train
from tests.support.training import SHORT, part, untrained
from dataclasses import replace
torch.set_num_threads(1)
settings = replace(SHORT, epochs=int(sys.argv[3]))
data = part(0, 200), part(1000, 1100)
trained = train(untrained(), *data, settings, checkpoints=Path(sys.argv[1]))
print(",".join(str(e.loss) for e in trained.history))
"""


@pytest.mark.slow
def test_a_process_that_was_killed_by_a_signal_is_taken_up_by_another(tmp_path):
    root = Path(adaspring.__file__).parent
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), root, "15"]
    first = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        assert eventually(lambda: any(tmp_path.glob("step-*[1-9]*")), 60)
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    whole = train(untrained(), part(0, 200), part(1000, 1100), replace(SHORT, epochs=15))
    printed = [float(text) for text in found.stdout.strip().split(",")[1:]]
    np.testing.assert_allclose(printed, losses(whole), rtol=1e-5)
