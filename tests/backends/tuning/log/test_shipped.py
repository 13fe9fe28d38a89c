from __future__ import annotations

import msgspec
import pytest
import torch

from adaspring import targets
from adaspring.backends.build import prepare
from adaspring.backends.conv_algorithms import alternatives
from adaspring.backends.tuning.engine import tune
from adaspring.backends.tuning.log.log import TuningLog
from adaspring.backends.tuning.log.shipped import shipped_logs
from adaspring.backends.tuning.search.transfer import best_known
from adaspring.backends.tuning.settings import Tuning
from adaspring.backends.tuning.tasks import tasks_of
from adaspring.cli.demo.network import DigitsNet, example_input
from adaspring.frontend.from_torch.importer import from_torch


def processor(mcpu: str, *attributes: str) -> targets.Board:
    """This machine with another x86 instruction set."""
    here = targets.null()
    target = {"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": mcpu, "num-cores": 1}
    if attributes:
        target["mattr"] = list(attributes)
    return msgspec.structs.replace(here, name="some", target=target, architecture="x86_64")


@pytest.mark.parametrize(
    ("board", "names"),
    [
        (processor("x86-64-v4", "+avx512vnni"), ["x86-avx512-vnni"]),
        (processor("x86-64-v4"), []),
        (processor("x86-64-v3"), ["x86-avx2"]),
        (processor("x86-64"), []),
        (targets.find("raspberry-pi-5"), ["raspberry-pi-5"]),
        (targets.find("rock-5b-mali"), []),
    ],
)
def test_a_board_gets_the_logs_of_its_class_and_its_own(board, names, tmp_path):
    for name in ("x86-avx512-vnni", "x86-avx2", "raspberry-pi-5", "rock-5b-mali"):
        (tmp_path / name).mkdir()
    assert [path.name for path in shipped_logs(board, tmp_path)] == names


@pytest.mark.parametrize("kind", [("x86-64-v4", "+avx512vnni"), ("x86-64-v3",)])
def test_the_demos_network_needs_no_trials(kind, tmp_path):
    board = processor(*kind)
    board = msgspec.structs.replace(board, target=board.target | {"num-cores": 2}, core_count=2)
    torch.manual_seed(0)
    model = from_torch(DigitsNet().eval(), (example_input(),), name="digits")
    ways = alternatives(model, board)
    log = TuningLog(tmp_path / "own", shipped_logs(board))
    tasks = tasks_of(ways.modules, ways.direct.isa)
    assert all(log.best(task.module) for task in tasks)
    assert not (tmp_path / "own").exists()


def test_a_function_that_differs_in_its_constants_alone_is_known(tmp_path):
    class Scaled(torch.nn.Module):
        def __init__(self, scale: float) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(32, 32)
            self.scale = scale

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.clamp(self.layer(x), 0.0, self.scale)

    def tasks(scale: float):
        torch.manual_seed(0)
        made = from_torch(Scaled(scale).eval(), (torch.zeros(1, 32),), name="scaled")
        prepared = prepare(made, targets.null())
        return tasks_of([prepared.module], prepared.isa)

    log = TuningLog(tmp_path)
    tune(tasks(2.0), targets.null(), log, Tuning(trials=2, tuner="template"))
    (other,) = tasks(3.0)
    assert log.best(other.module) is None
    assert best_known(log)(other.module) is not None
