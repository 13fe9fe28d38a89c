"""Networks with free dimensions: a small transformer with a mask, and others; torch and ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

WIDTH, HEADS, WORDS, LONGEST = 16, 2, 30, 64


class Encoder(nn.Module):
    """Words (n, t) and a mask of those that count to classes (n, 5) and states (n, t, width)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(WORDS, WIDTH)
        self.positions = nn.Parameter(torch.randn(1, LONGEST, WIDTH))
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.up, self.down = nn.Linear(WIDTH, 32), nn.Linear(32, WIDTH)
        self.head = nn.Linear(WIDTH, 5)

    def forward(self, ids, mask):
        n, t = ids.shape
        x = self.words(ids) + self.positions[:, :t]
        q, k, v = (f(x).view(n, t, HEADS, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
        scores = q @ k.transpose(-1, -2) / (WIDTH // HEADS) ** 0.5
        scores = scores.masked_fill(mask[:, None, None, :] == 0, -1e9)
        x = x + self.o((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, t, -1))
        x = x + self.down(torch.relu(self.up(x)))
        counts = mask[..., None].float()
        return self.head((x * counts).sum(1) / counts.sum(1)), x


class Waves(nn.Module):
    """Words (n, t) plus sines of their places, which are computed from the length."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.head = nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, 5)
        self.up, self.down = nn.Linear(WIDTH, 32), nn.Linear(32, WIDTH)

    def forward(self, ids):
        places = torch.arange(ids.shape[1]).float()[:, None] * torch.arange(1, WIDTH + 1) / WIDTH
        x = self.words(ids) + places.sin()
        return self.head(self.down(torch.relu(self.up(x))).mean(1))


class Mean(nn.Module):
    """Words (n, t) to classes (n, 5), the mean over all words: padding changes it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.head = nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, 5)

    def forward(self, ids):
        return self.head(self.words(ids).mean(1))


def words(n: int, t: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Words and a mask, of which the first counts always."""
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, 2, (n, t))
    mask[:, 0] = 1
    return rng.integers(0, WORDS, (n, t)), mask


def export_encoder(path: Path, batch_max: int = 8) -> nn.Module:
    """Save the encoder with a free batch and length; give it back."""
    network = Encoder().eval()
    batch, length = torch.export.Dim("batch", max=batch_max), torch.export.Dim("t", max=LONGEST)
    free = {0: batch, 1: length}
    given = tuple(map(torch.from_numpy, words(2, 16)))
    program = torch.export.export(network, given, dynamic_shapes={"ids": free, "mask": free})
    torch.export.save(program, path)
    return network


def export_words(path: Path, kind: type[nn.Module], longest: int = LONGEST) -> nn.Module:
    """Save a network of words alone with a free length; give it back."""
    network, length = kind().eval(), torch.export.Dim("t", max=longest)
    program = torch.export.export(
        network, (torch.from_numpy(words(1, 16)[0]),), dynamic_shapes={"ids": {1: length}}
    )
    torch.export.save(program, path)
    return network


def run_torch(network: nn.Module, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """What torch computes of NumPy arrays."""
    with torch.no_grad():
        found = network(*map(torch.from_numpy, arrays))
    return tuple(y.numpy() for y in (found if isinstance(found, tuple) else (found,)))


def masked_dense(path: Path) -> None:
    """Write x (batch, time, 4) · w + b, times mask (batch, time, 1), as ONNX with named dims."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((4, 8)).astype(np.float32),
        "b": rng.standard_normal(8).astype(np.float32),
    }
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["xw"]),
            helper.make_node("Add", ["xw", "b"], ["xwb"]),
            helper.make_node("Relu", ["xwb"], ["r"]),
            helper.make_node("Mul", ["r", "mask"], ["y"]),
        ],
        "masked",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "time", 4]),
            helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["batch", "time", 1]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "time", 8])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, path)
