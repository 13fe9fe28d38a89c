"""A residual and an inverted-residual network for 28×28 grey images, trained here and kept.

The way is PyTorch's usual one: SGD with Nesterov's momentum, one cycle of the learning rate (Smith,
2018), images moved by up to two pixels and mirrored. The weights of each epoch are kept, so that a
run that was stopped goes on, and one that was finished is not repeated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from real.fashion import Fashion, Images

BATCH, SEED = 128, 0
_PEAK_RATE, _MOMENTUM, _WEIGHT_DECAY = 0.2, 0.9, 5e-4


def _conv(c_in: int, c_out: int, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(c_in, c_out, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out))


class Residual(nn.Module):
    """Two 3×3 convolutions and a shortcut (He et al., CVPR 2016)."""

    def __init__(self, c_in: int, c_out: int, stride: int = 1):
        super().__init__()
        self.first, self.second = _conv(c_in, c_out, 3, stride), _conv(c_out, c_out)
        same = stride == 1 and c_in == c_out
        self.shortcut = nn.Identity() if same else _conv(c_in, c_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


class Inverted(nn.Module):
    """1×1 to more channels, a depthwise 3×3, 1×1 back (Sandler et al., CVPR 2018)."""

    def __init__(self, c_in: int, c_out: int, stride: int = 1, expand: int = 4):
        super().__init__()
        wide = expand * c_in
        self.body = nn.Sequential(
            _conv(c_in, wide, 1), nn.ReLU6(),
            _conv(wide, wide, 3, stride, groups=wide), nn.ReLU6(),
            _conv(wide, c_out, 1),
        )  # fmt: skip
        self.is_residual = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.is_residual else self.body(x)


class FashionResNet(nn.Sequential):
    """Five residual blocks of 16, 32 and 64 channels: 17 million multiply-adds."""

    def __init__(self) -> None:
        super().__init__(
            _conv(1, 16), nn.ReLU(), Residual(16, 16),
            Residual(16, 32, 2), Residual(32, 32), Residual(32, 64, 2), Residual(64, 64),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
        )  # fmt: skip


class FashionMobileNet(nn.Sequential):
    """Five inverted residual blocks of 32 and 64 channels: 8 million multiply-adds."""

    def __init__(self) -> None:
        super().__init__(
            _conv(1, 16), nn.ReLU6(), Inverted(16, 32, 2, expand=3), Inverted(32, 32),
            Inverted(32, 64, 2), Inverted(64, 64), Inverted(64, 64),
            _conv(64, 256, 1), nn.ReLU6(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10),
        )  # fmt: skip


@dataclass(frozen=True)
class Course:
    """A network and for how many epochs it is trained."""

    network: Callable[[], nn.Module]
    name: str
    epochs: int


RESNET = Course(FashionResNet, "fashion-resnet", 15)
MOBILENET = Course(FashionMobileNet, "fashion-mobilenet", 8)


def trained(course: Course, data: Fashion, folder: Path) -> nn.Module:
    """Return the network, trained or as it was kept in `folder`; ready to infer."""
    torch.manual_seed(SEED)
    network = course.network().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        network.parameters(), momentum=_MOMENTUM, weight_decay=_WEIGHT_DECAY, nesterov=True
    )
    path = folder / f"{course.name}-{course.epochs}.safetensors"
    first = _resume(path, network, optimizer)
    pixels, labels = torch.from_numpy(data.train.scaled()), torch.from_numpy(data.train.y)
    for epoch in range(first, course.epochs):
        loss = _epoch(network, optimizer, pixels, labels, epoch, course.epochs)
        reached = accuracy(network, data.validation)
        print(
            f"{course.name} epoch {epoch + 1} loss {loss:.4f} validation {reached:.4f}", flush=True
        )
        _save(path, network, optimizer, epoch + 1)
    return network.to(memory_format=torch.contiguous_format).eval()


def accuracy(network: nn.Module, part: Images) -> float:
    """Return the share of a part's images that the network reads right."""
    network.eval()
    with torch.inference_mode():
        scores = [network(batch) for batch in torch.from_numpy(part.scaled()).split(500)]
    return float(np.mean(torch.cat(scores).argmax(1).numpy() == part.y))


def _epoch(
    network: nn.Module, optimizer: torch.optim.SGD, pixels: Tensor, labels: Tensor,
    epoch: int, epochs: int,
) -> float:  # fmt: skip
    """Go once through the images; return the mean loss."""
    network.train()
    random = torch.Generator().manual_seed(SEED + epoch)
    steps = len(labels) // BATCH
    order = torch.randperm(len(labels), generator=random)[: steps * BATCH].split(BATCH)
    total = 0.0
    for step, at in enumerate(order):
        for group in optimizer.param_groups:
            group["lr"] = _PEAK_RATE * _cycle((epoch * steps + step) / (epochs * steps))
        optimizer.zero_grad()
        batch = _moved(pixels[at], random).contiguous(memory_format=torch.channels_last)
        loss = F.cross_entropy(network(batch), labels[at], label_smoothing=0.05)
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / steps


def _cycle(done: float) -> float:
    """Return the share of the peak rate: up along a line for 30 %, then half a cosine to 0."""
    warm = 0.3
    return max(done / warm, 0.02) if done < warm else 0.5 + 0.5 * math.cos(
        math.pi * (done - warm) / (1 - warm)
    )  # fmt: skip


def _moved(images: Tensor, random: torch.Generator) -> Tensor:
    """Move each image by up to two pixels and mirror half of them."""
    count = len(images)
    padded = F.pad(images, (2, 2, 2, 2), mode="replicate")
    down, right = torch.randint(0, 5, (2, count, 1, 1), generator=random)
    rows = down + torch.arange(28).view(1, 28, 1)
    columns = right + torch.arange(28).view(1, 1, 28)
    mirrored = torch.rand(count, 1, 1, generator=random) < 0.5
    columns = torch.where(mirrored, columns.flip(2), columns)
    return padded[torch.arange(count).view(-1, 1, 1), 0, rows, columns][:, None]


def _save(path: Path, network: nn.Module, optimizer: torch.optim.SGD, epochs: int) -> None:
    moving = {
        f"momentum/{name}": optimizer.state[value]["momentum_buffer"]
        for name, value in network.named_parameters()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    tensors = {name: value.contiguous() for name, value in (network.state_dict() | moving).items()}
    save_file(tensors, beside, {"epochs": str(epochs)})
    beside.replace(path)


def _resume(path: Path, network: nn.Module, optimizer: torch.optim.SGD) -> int:
    """Fill both with what was kept; return how many epochs that has, 0 where nothing fits."""
    try:
        with safe_open(path, "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            epochs = int((file.metadata() or {})["epochs"])
        weights = {n: v for n, v in state.items() if not n.startswith("momentum/")}
        network.load_state_dict(weights)
        for name, value in network.named_parameters():
            momentum = state[f"momentum/{name}"].to(memory_format=torch.preserve_format)
            optimizer.state[value]["momentum_buffer"] = momentum
    except (OSError, SafetensorError, RuntimeError, KeyError, ValueError):
        return 0
    return epochs
