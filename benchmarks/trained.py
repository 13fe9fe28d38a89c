"""Small networks trained on the data sets, in a minute each; kept, with the accuracy they reached.

What is kept counts only if it still has that accuracy: else the network is trained again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from datasets import Part, Parts, activity, digits, keyword
from networks.activity import ActivityNet
from networks.tiny import DsCnn
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from adaspring.cli.demo.network import DigitsNet
from adaspring.cli.demo.train import fit
from adaspring.reference.executor import accuracy

Augment = Callable[[Tensor], Tensor]


def shift(images: Tensor) -> Tensor:
    """Move the batch by up to two pixels in each direction."""
    down, right = (int(v) for v in torch.randint(-2, 3, (2,)))
    return torch.roll(images, (down, right), dims=(2, 3))


@dataclass(frozen=True)
class Task:
    """A data set, the network for it, and how that is trained."""

    data: ModuleType
    network: type[nn.Module]
    epochs: int
    augment: Augment = lambda batch: batch
    max_lr: float = 4e-3

    @property
    def name(self) -> str:
        """The data set's."""
        return self.data.__name__.rpartition(".")[2]


TASKS = (
    Task(digits, DigitsNet, epochs=8, augment=shift),
    Task(keyword, DsCnn, epochs=12),
    Task(activity, ActivityNet, epochs=12),
)


def trained(task: Task, parts: Parts, seed: int, folder: Path) -> nn.Module:
    """The network, trained or as it was kept in `folder`."""
    how = f"{task.network()}{task.epochs}{task.augment.__name__}{task.max_lr}{seed}"
    key = sha256(how.encode() + parts.train.x.tobytes() + parts.train.y.tobytes()).hexdigest()[:16]
    path = folder / f"{task.name}-{key}.safetensors"
    kept = _kept(task.network(), path, parts.validation)
    if kept is not None:
        return kept
    torch.manual_seed(seed)
    network = retrained(task.network(), task, parts.train, epochs=task.epochs, max_lr=task.max_lr)
    reached = torch_accuracy(network, parts.validation)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), path, {"validation_accuracy": repr(reached)})
    return network


def retrained(
    network: nn.Module, task: Task, train: Part, *, epochs: int, max_lr: float
) -> nn.Module:
    """The same network, fitted further as the task says."""
    nothing = lambda done, total: None  # noqa: E731
    return fit(network, *train, task.augment, nothing, epochs=epochs, max_lr=max_lr)


def torch_accuracy(network: nn.Module, part: Part) -> float:
    """The share of a part's samples that the network reads right."""
    with torch.inference_mode():
        batches = torch.from_numpy(part.x).split(64)
        scores = np.concatenate([network(batch).numpy() for batch in batches])
    return accuracy(scores, part.y)


def _kept(network: nn.Module, path: Path, validation: Part) -> nn.Module | None:
    """What was kept; None where it is not there, does not fit, or answers otherwise."""
    try:
        with safe_open(path, "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            reached = (file.metadata() or {}).get("validation_accuracy")
        network.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError):
        return None
    return network if reached == repr(torch_accuracy(network.eval(), validation)) else None
