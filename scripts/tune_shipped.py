"""Fill the tuning logs that ship with the package: `python scripts/tune_shipped.py`.

The demo's network with its recipes, and the benchmarks' networks in fp32 and int8, tuned on this
machine for each class of x86 processors that it can run code for. The fastest few schedules of each
function stay, and the functions are packed: they are forty times as large.
"""

from __future__ import annotations

import argparse
import lzma
import sys
from pathlib import Path

import msgspec

from adaspring.backends.conv_algorithms import alternatives
from adaspring.backends.tuning.engine import tune
from adaspring.backends.tuning.log.compact import compact
from adaspring.backends.tuning.log.files import packed_path
from adaspring.backends.tuning.log.lines import LOST, WORKLOADS
from adaspring.backends.tuning.log.log import TuningLog
from adaspring.backends.tuning.settings import Tuning
from adaspring.backends.tuning.tasks import tasks_of
from adaspring.cli.demo.command import MAX_DROP, RECIPES
from adaspring.cli.demo.data import hard_digits
from adaspring.cli.demo.network import example_input
from adaspring.cli.demo.train import train
from adaspring.explore.plan import plan
from adaspring.explore.progress import Silent
from adaspring.explore.request import Bounds, Request
from adaspring.explore.shortlist import find_variants
from adaspring.explore.variants import make_probe
from adaspring.frontend.data import Dataset
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.ir.model import Model
from adaspring.targets import Board, host

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

from networks import NETWORKS, models  # noqa: E402 - beside the benchmarks

# The levels of x86-64, and what VNNI adds.
CLASSES = {
    "x86-avx512-vnni": {"mcpu": "x86-64-v4", "mattr": ["+avx512vnni"]},
    "x86-avx2": {"mcpu": "x86-64-v3"},
}


def board_of(name: str) -> Board:
    """Give this machine the instruction set of a class."""
    here = host()
    target = {key: value for key, value in here.target.items() if key not in ("mcpu", "mattr")}
    return msgspec.structs.replace(here, name=name, target=target | CLASSES[name])


def networks() -> list[Model]:
    """The demo's variants, trained as the demo trains them, and the benchmarks' networks."""
    (images, labels), (held_images, held_labels) = hard_digits()
    network = train(images, labels, host().core_count, lambda done, total: None)
    demo = from_torch(network, (example_input(),), name="digits")
    request = Request(
        model=demo,
        data=Dataset(inputs=(held_images,), targets=held_labels),
        recipes=RECIPES,
        bounds=Bounds(max_drop=MAX_DROP, front_only=False),
    )
    demo_plan = plan(request)
    probe = make_probe(demo, demo_plan.splits, demo_plan.metric)
    variants, _ = find_variants(demo_plan, probe, Silent())
    found = [variant.model for variant in variants]
    return [*found, *(model for kind in NETWORKS for model in models(kind))]


def unpack(folder: Path) -> None:
    """Make a packed log one that can be written."""
    plain = folder / WORKLOADS
    packed = packed_path(plain)
    if packed.exists():
        plain.write_bytes(lzma.decompress(packed.read_bytes()))
        packed.unlink()


def pack(folder: Path) -> None:
    """Keep what a build needs, and little of what a later search needs."""
    compact(folder, keep_count=2)
    (folder / LOST).unlink(missing_ok=True)
    plain = folder / WORKLOADS
    packed_path(plain).write_bytes(lzma.compress(plain.read_bytes(), preset=9))
    plain.unlink()


def main() -> None:
    """Tune for each class, into FOLDER/CLASS."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "tuning_logs")
    parser.add_argument("--minutes", type=float, default=15.0, help="for each class")
    parser.add_argument("--only", choices=list(CLASSES), help="this class alone")
    asked = parser.parse_args()
    models = networks()
    for name in [asked.only] if asked.only else CLASSES:
        board = board_of(name)
        ways = [alternatives(model, board) for model in models]
        print(f"{name}: {len(models)} networks lowered", flush=True)
        modules = (module for way in ways for module in way.modules)
        tasks = tasks_of(modules, ways[0].direct.isa)
        settings = Tuning(trials=10**6, time_limit_s=60 * asked.minutes, patience=96)
        unpack(asked.folder / name)
        report = tune(tasks, board, TuningLog(asked.folder / name), settings)
        pack(asked.folder / name)
        print(
            f"{name}: {len(tasks)} functions, {report.measured_count} measured, "
            f"{len(report.failed)} lost, {report.elapsed_s:.0f} s; {report.ended}"
        )


if __name__ == "__main__":
    main()
