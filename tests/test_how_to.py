"""The pages of docs/how-to: their commands and code run, on small networks, in the order shown."""

from __future__ import annotations

import re
import shlex
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from .support.cli import adaspring, measure_briefly
from .support.package import ROOT

pytestmark = pytest.mark.slow

FOLDER = ROOT / "docs" / "how-to"
MOST_LINES = 60
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# (\w+\.py)\n")


class Detector(nn.Module):
    """A heat map of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1), nn.ReLU(),
            nn.Conv2d(16, 4, 1), nn.PixelShuffle(2), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, image: Tensor) -> Tensor:
        return self.body(image)


class Recognizer(nn.Module):
    """Scores of eight classes at every fourth column of a line."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 24, 3, 2, 1), nn.ReLU(),
            nn.AvgPool2d((4, 1)), nn.Conv2d(24, 8, 1),
        )  # fmt: skip

    def forward(self, line: Tensor) -> Tensor:
        return self.body(line).squeeze(2).transpose(1, 2)


class Voice(nn.Module):
    """A score of a frame, and the next state."""

    def __init__(self) -> None:
        super().__init__()
        self.hear, self.keep, self.score = nn.Linear(32, 16), nn.Linear(16, 16), nn.Linear(16, 1)

    def forward(self, frame: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        state = torch.tanh(self.hear(frame.abs()) + self.keep(h))
        return torch.sigmoid(self.score(state)), state


class Embedder(nn.Module):
    """A vector of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 24, 3, 2, 1), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).mean(dim=(2, 3))


class Text(nn.Module):
    """Scores of three classes: the mean of what is seen of each token."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix, self.head = nn.Embedding(50, 32), nn.Linear(32, 32), nn.Linear(32, 3)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        seen = mask[..., None].float()
        found = torch.relu(self.mix(self.embed(ids))) * seen
        return self.head(found.sum(1) / seen.sum(1))


def _export(path: str, network: nn.Module, inputs: dict[str, Tensor], **more: object) -> None:
    # torch's exporters warn of their own deprecations
    with warnings.catch_warnings(action="ignore"):
        torch.onnx.export(
            network.eval(), tuple(inputs.values()), path, dynamo=False, opset_version=17,
            input_names=list(inputs), **more,
        )  # fmt: skip


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).standard_normal(shape, dtype=np.float32)


def _detector() -> None:
    _export("detector.onnx", Detector(), {"image": torch.zeros(1, 3, 64, 64)})
    images = _random(40, 3, 64, 64)
    np.savez("images.npz", x=images)
    np.savez("marked.npz", x=images, y=(images[:, 0] > 0).astype(np.int64))


def _recognizer() -> None:
    axes = {"line": {3: "width"}}
    _export("recognizer.onnx", Recognizer(), {"line": torch.zeros(1, 1, 16, 64)}, dynamic_axes=axes)
    lines = _random(60, 1, 16, 64)
    texts = np.random.default_rng(0).integers(1, 8, (60, 6))
    np.savez("lines.npz", x=lines, y=np.where(np.arange(6) < 5, texts, -1))
    np.savez("more-lines.npz", x=_random(80, 1, 16, 64) * 2)


def _voice() -> None:
    inputs = {"frame": torch.zeros(1, 32), "h": torch.zeros(1, 16)}
    _export("vad.onnx", Voice(), inputs, output_names=["score", "hn"])


def _embedder() -> None:
    _export("embed.onnx", Embedder(), {"x": torch.zeros(1, 3, 32, 32)})
    samples = _random(60, 3, 32, 32)
    np.savez("samples.npz", x=samples)
    np.savez("labelled.npz", x=samples, y=np.arange(60) % 4)


def _text() -> None:
    inputs = {name: torch.ones(1, 16, dtype=torch.int64) for name in ("ids", "mask")}
    axes = {name: {1: "length"} for name in inputs}
    _export("text.onnx", Text(), inputs, dynamic_axes=axes)


FILES = {
    "audio-stream": _voice,
    "detector": _detector,
    "embedding": _embedder,
    "follow": _detector,
    "ocr": _recognizer,
    "text": _text,
}


def _commands(block: str) -> list[list[str]]:
    lines = block.replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.strip()]


def _quick(command: list[str]) -> list[str]:
    """The command as on the page; tuning and the number of recipes are cut for the test alone."""
    if command[0] != "compile":
        return [*command, "--seconds", "0.2"] if command[0] == "bench" else command
    named = [] if "--recipe" in command else ["--recipe", "int8"]
    return [*command, "--trials", "0", *named]


@pytest.mark.parametrize("name", sorted(FILES))
def test_what_a_page_shows_runs(name, tmp_path, monkeypatch):
    measure_briefly(monkeypatch)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    FILES[name]()
    seen: dict[str, object] = {}
    for language, block in _BLOCK.findall((FOLDER / f"{name}.md").read_text()):
        file = _FILE.match(block)
        if file is not None:
            (tmp_path / file[1]).write_text(block)
        elif language == "python":
            exec(compile(block, f"{name}.md", "exec"), seen)
        else:
            for program, *command in _commands(block):
                assert program == "adaspring"
                result = adaspring(*_quick(command))
                assert result.exit_code == 0, (command, result.stderr)


def test_every_page_is_run_and_short():
    pages = {path.stem: path.read_text() for path in FOLDER.glob("*.md")}
    assert set(pages) == set(FILES)
    assert {name: len(text.splitlines()) for name, text in pages.items()
            if len(text.splitlines()) > MOST_LINES} == {}  # fmt: skip


def test_a_command_over_two_lines_is_one():
    assert _commands("adaspring a \\\n    --b 'c,{1,2}'\n") == [
        ["adaspring", "a", "--b", "c,{1,2}"]
    ]
