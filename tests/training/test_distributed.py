"""Several processes train as one, and a killed one is started again and goes on."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import adaspring
from adaspring.errors import TrainingError, UsageError
from adaspring.training import Ranks, train
from adaspring.training.batches import Batches

from ..support.training import SHARED, cells_trained_shortly, part, untrained

SCRIPT = """
import json, os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from adaspring.training import join_group, launch, train
from tests.support.training import SHARED, part, untrained

class Die:
    def step(self, stage, done, total, detail):
        if done == 7 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            os.kill(os.getpid(), signal.SIGKILL)

    def note(self, text):
        pass

def work(folder):
    with join_group() as ranks:
        trained = train(
            untrained(), part(0, 200), part(1000, 1150), SHARED,
            checkpoints=Path(folder), ranks=ranks,
            progress=Die() if ranks.rank == 1 else None,
        )
        attempt = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
        weights = float(sum(abs(a).sum() for a in trained.model.weights.values()))
        curve = [[e.loss, e.validation_loss, e.validation_metric] for e in trained.history]
        return curve, attempt, weights, ranks.count

if __name__ == "__main__":
    print(json.dumps(launch(work, (sys.argv[2],), 2)))
"""


@pytest.mark.slow
def test_two_processes_one_killed_give_the_curve_of_one_with_the_same_batch(tmp_path):
    script, folder = tmp_path / "script.py", tmp_path / "checkpoints"
    script.write_text(SCRIPT)
    root = Path(adaspring.__file__).parent
    done = subprocess.run(
        [sys.executable, script, root, folder],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    history, attempt, weights, count = json.loads(done.stdout.splitlines()[-1])
    assert count == 2
    assert attempt == 1
    alone = train(untrained(), part(0, 200), part(1000, 1150), SHARED)
    for (loss, held_loss, accuracy), epoch in zip(history, alone.history, strict=True):
        assert loss == (None if epoch.loss is None else pytest.approx(epoch.loss, rel=1e-4))
        assert held_loss == pytest.approx(epoch.validation_loss, rel=1e-4)
        assert accuracy == pytest.approx(epoch.validation_metric, abs=0.01)
    total = float(sum(abs(a).sum() for a in alone.model.weights.values()))
    assert weights == pytest.approx(total, rel=1e-4)


CELLS = """
import json, sys
sys.path.insert(0, sys.argv[1])
from adaspring.training import join_group, launch
from tests.support.training import cells_trained_shortly

def work():
    with join_group() as ranks:
        trained = cells_trained_shortly(ranks)
        weights = [w for of in trained.cells for m in of.values() for w in m.weights.values()]
        losses = [epoch.validation_loss for epoch in trained.history]
        return losses, float(sum(abs(w).sum() for w in weights)), ranks.count

if __name__ == "__main__":
    print(json.dumps(launch(work, (), 2)))
"""


@pytest.mark.slow
def test_two_processes_train_cells_as_one_does(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(CELLS)
    done = subprocess.run(
        [sys.executable, script, Path(adaspring.__file__).parent],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    losses, weights, count = json.loads(done.stdout.splitlines()[-1])
    assert count == 2
    alone = cells_trained_shortly(Ranks())
    assert losses == pytest.approx([epoch.validation_loss for epoch in alone.history], rel=1e-4)
    every = [w for of in alone.cells for m in of.values() for w in m.weights.values()]
    assert weights == pytest.approx(float(sum(abs(w).sum() for w in every)), rel=1e-4)


def test_the_processes_share_each_batch_without_overlap():
    def batches(rank, count):
        ranks = Ranks(rank=rank, count=count)
        return Batches(untrained(), part(0, 100), 24, 5, ranks, torch.device("cpu"))

    whole = batches(0, 1)
    assert whole.steps == 4
    for step, batch in enumerate(whole.epoch(2, 0)):
        parts = [next(iter(batches(rank, 3).epoch(2, step))) for rank in range(3)]
        together = torch.cat([each.inputs[0] for each in parts])
        assert torch.equal(together, batch.inputs[0])
        assert torch.equal(torch.cat([each.targets for each in parts]), batch.targets)
    held = [b for rank in range(3) for b in batches(rank, 3).held_out(part(0, 150))]
    assert sum(batch.count for batch in held) == 150


def test_a_batch_that_cannot_be_dealt_out_is_refused():
    with pytest.raises(UsageError, match=r"batch of 40 .* 3 processes .* multiple of 3"):
        train(untrained(), part(0, 100), part(100, 150), SHARED, ranks=Ranks(count=3))


class Sent:
    """Stands for a value that only the leader makes."""

    made = 0

    def __call__(self):
        self.made += 1
        raise TrainingError("no")


def test_alone_a_value_is_made_here_and_its_error_raised():
    sent = Sent()
    with pytest.raises(TrainingError, match="no"):
        Ranks().from_leader(sent)
    assert sent.made == 1
