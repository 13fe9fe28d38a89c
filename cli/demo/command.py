"""`adaspring demo`: the whole way on real handwriting, in some minutes.

It trains a network, compiles it for four boards, and switches variants through a day.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import AdaspringError
from ..shared.answer import Answer, AsJson, Verbose
from ..shared.bars import Bars
from . import report

if TYPE_CHECKING:
    from rich.console import Console

    from ...explore.progress import Progress

BOARDS = ("host", "raspberry-pi-5", "rock-5b-mali", "jetson-orin")
SEGMENTS = 2
RECIPES = ("pruned-half", "factorized", "int8", "pruned-half-int8", "pruned-most-int8")
MAX_DROP = 0.05
TRIALS = 320


Output = Annotated[Path, typer.Option("--output", "-o", help="The folder to write to.")]


def demo(
    output: Output = Path("demo-out"), as_json: AsJson = False, verbose: Verbose = False
) -> Answer:
    """Train, compress, compile, measure and switch a network on scikit-learn's digits.

    For example:
      adaspring demo --output demo-out
    """
    from ..shared.tables import console

    with Bars() as bars:
        run_demo(output, console(), bars)
    found = sorted(str(path.parent) for path in output.rglob("manifest.json"))
    return Answer(data={"output": str(output), "libraries": found}, shown=())


def run_demo(output: Path, console: Console, progress: Progress) -> None:
    """Run the demo; everything that it makes lies in `output` afterwards."""
    start = time.monotonic()
    console.rule("1  a trained network")
    model_path, data_path = _train(output, console, progress)
    console.rule("2  one library a board")
    libraries = _compile(model_path, data_path, output, console, progress)
    console.rule("3  a day in an app")
    _live(libraries, data_path, console)
    picture = output / "cost-front.png"
    _draw(libraries, picture)
    console.rule("done")
    report.print_next_steps(console, output, picture, time.monotonic() - start)


def _train(output: Path, console: Console, progress: Progress) -> tuple[Path, Path]:
    """Train the network; save it and the held-out images as any user's files."""
    import numpy as np
    import torch

    from ...reference.executor import accuracy
    from ...targets import host
    from .data import DISTURBANCE, hard_digits
    from .network import example_input
    from .train import train

    (images, labels), (held_images, held_labels) = hard_digits()
    threads = host().core_count
    network = train(
        images, labels, threads, lambda done, total: progress.step("train", done, total, "steps")
    )
    with torch.inference_mode():
        scores = network(torch.from_numpy(held_images)).numpy()
    output.mkdir(parents=True, exist_ok=True)
    model_path, data_path = output / "digits.pt2", output / "held-out.npz"
    torch.export.save(torch.export.export(network, (example_input(),)), model_path)
    np.savez(data_path, x=held_images, y=held_labels)
    right = accuracy(scores, held_labels)
    report.print_training(console, len(images), len(held_images), right, str(DISTURBANCE))
    return model_path, data_path


def _compile(
    model_path: Path, data_path: Path, output: Path, console: Console, progress: Progress
) -> Path:
    """Do what `adaspring compile` does, for this machine and three boards that are not here."""
    from ...backends.codegen.cuda import available
    from ...backends.tuning.settings import Tuning
    from ...explore.compile import compile_model
    from ...explore.request import Bounds

    no_cuda = available()
    names = tuple(name for name in BOARDS if name != "jetson-orin" or no_cuda is None)
    report.print_command(
        console,
        f"adaspring compile {model_path} --data {data_path} --max-drop {MAX_DROP} --keep-dominated "
        f"--segments {SEGMENTS}",
        [f"--target {name}" for name in names],
        [f"--recipe {name}" for name in RECIPES],
        [f"--trials {TRIALS}", f"-o {output / 'libraries'}"],
    )
    if no_cuda is not None:
        console.print(f"[yellow]jetson-orin is left out: {no_cuda}[/]")
    result = compile_model(
        model_path,
        output / "libraries",
        progress=progress,
        boards=names,
        data=data_path,
        recipes=RECIPES,
        segments=SEGMENTS,
        bounds=Bounds(max_drop=MAX_DROP, front_only=False),
        tuning=Tuning(trials=TRIALS),
        logs=output / "tuning_logs",
    )
    report.print_libraries(console, result)
    for failed in result.failures:
        raise AdaspringError(f"{failed.board.name}: {failed.error}")
    return output / "libraries"


def _live(libraries: Path, data_path: Path, console: Console) -> None:
    """Open the host's library as an app does, and play the day on the test split."""
    from ...frontend import load_data, split
    from ...library.loader import load
    from .day import live

    test = split(load_data(data_path), seed=0).test
    assert test.labels is not None
    library = load(libraries / "host")
    report.print_day(console, live(library, test.inputs[0][:, None], test.labels))


def _draw(libraries: Path, picture: Path) -> None:
    from ...library.reader import read_manifest
    from .picture import draw

    draw(read_manifest(libraries / "host"), picture)
