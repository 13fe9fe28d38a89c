"""How right and how fast our kernels are on this machine's CUDA device.

Each network is built in fp32, float16 and int8 for one sample and for 32, tuned where --minutes are
given, compared with the reference executor, and timed in turn with torch, eager and compiled, and
ONNX Runtime where these compute on CUDA here. The share of the roofline is the time that its
multiply-adds take at the rate of torch's own large product, or its bytes at that of a copy.

What tells most comes first; when --limit minutes are over, what is left is named and not begun.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gpu_peers
import numpy as np
import report
import tvm
from executable import executable
from networks import NETWORKS, random_data, seeded
from on_device import FORMS, agree, differences, medians_in_turn, network_models, tuned
from torch import nn

from adaspring.backends.build import Prepared, prepare
from adaspring.backends.report.functions import functions_of
from adaspring.backends.tuning.log.log import TuningLog
from adaspring.errors import AdaspringError
from adaspring.library.devices.start import start
from adaspring.targets import Board, host_cuda

BATCHES = (1, 32)
_FIRST = ("ResNet18", "MobileNetV2", "BertMini")


def cases(asked: list[str] | None) -> Iterator[tuple[type[nn.Module], int]]:
    """Networks and batches, the most telling first."""
    kinds = [kind for kind in NETWORKS if not asked or kind.__name__ in asked]
    kinds.sort(key=lambda kind: (kind.__name__ not in _FIRST, NETWORKS.index(kind)))
    for batch in BATCHES:
        for kind in kinds:
            yield kind, batch


def peers(kind: type[nn.Module], x: np.ndarray) -> dict[str, Callable[[Any], Any]]:
    """What is compared with, as far as it is here."""
    network = seeded(kind)
    found = dict(gpu_peers.torch_calls(network, x)) if gpu_peers.torch_is_here() else {}
    session = gpu_peers.onnxruntime_call(network, x)
    return found if session is None else {**found, "ONNX Runtime fp32": session}


def roofline_ms(prepared: Prepared, form: str, roof: gpu_peers.Roofline) -> float:
    """What the network's functions take at least, one after the other."""
    return sum(
        1e-6
        * max(2 * each.macs_count / roof.gops[form], each.moved_bytes / roof.bandwidth)
        for each in functions_of(prepared.module, tuple(prepared.weights))
    )  # fmt: skip


def measure(
    kind: type[nn.Module],
    batch: int,
    board: Board,
    roof: gpu_peers.Roofline | None,
    log: TuningLog,
    minutes: float,
    seconds: float,
) -> dict[str, Any]:
    """Build, compare and time a network."""
    models = network_models(kind, batch)
    prepared = {form: prepare(model, board) for form, model in models.items()}
    best = tuned(prepared, minutes, log)
    device, sample = tvm.cuda(0), random_data((batch, *kind.example_shape[1:]), batch).inputs[0]
    x = tvm.runtime.tensor(sample, device)
    with tempfile.TemporaryDirectory() as folder:
        ours = {
            form: executable(each, best, Path(folder) / f"{form}.so")
            for form, each in prepared.items()
        }
        apart = differences(ours, models, x)
        medians = medians_in_turn(ours | peers(kind, sample), x, device, seconds)
    p50_ms = {name: float(np.median(found)) for name, found in medians.items()}
    return {
        "network": kind.__name__,
        "batch": batch,
        "p50_ms": p50_ms,
        "differs": apart,
        "agrees": agree(apart),
        "of_roofline": {
            form: roofline_ms(each, form, roof) / p50_ms[form]
            for form, each in (prepared.items() if roof else ())
        },
        "over": {
            f"{name} over {form}": report.ratio(medians[name] / medians[form])
            for form in FORMS
            for name in medians
            if name not in FORMS
        },
    }


def tell(found: dict[str, Any]) -> None:
    """A line for each form of a network, and for each peer."""
    for name, ms in found["p50_ms"].items():
        line = f"{found['network']:16} x{found['batch']:<3} {name:20} {ms:9.3f} ms"
        if name in found["differs"]:
            line += f"  differs {found['differs'][name]:.1e}"
        if name in found["of_roofline"]:
            line += f"  {found['of_roofline'][name]:.0%} of the roofline"
        print(line, flush=True)


def main() -> None:
    """Compare, measure, print, write JSON."""
    parser = report.arguments(__doc__, "one second of timing a network")
    parser.add_argument("--network", action="append", choices=[n.__name__ for n in NETWORKS])
    parser.add_argument("--minutes", type=float, default=0.0, help="of tuning, for each network")
    parser.add_argument("--limit", type=float, default=9.0, help="minutes, in all")
    asked = parser.parse_args()
    begin = time.monotonic()
    try:
        board = host_cuda()
        start(board.device, board.target, board.name)
    except AdaspringError as error:
        raise SystemExit(str(error)) from error
    print(f"on {board.description}")
    roof = gpu_peers.roofline() if gpu_peers.torch_is_here() else None
    results: list[dict[str, Any]] = []
    left: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        log = TuningLog(Path(folder))
        for kind, batch in cases(asked.network):
            if time.monotonic() - begin > 60 * asked.limit:
                left.append(f"{kind.__name__} x{batch}")
                continue
            seconds = 1.0 if asked.quick else 5.0
            results.append(measure(kind, batch, board, roof, log, asked.minutes, seconds))
            tell(results[-1])
    if left:
        print("not begun, the time was over:", ", ".join(left))
    if not gpu_peers.torch_is_here():
        print("the torch installed here has no CUDA: no roofline, and nothing to compare with")
    ratios = report.ratios_by(results, lambda found: f"{found['network']} x{found['batch']}")
    settings = {
        "device": board.description,
        "tuning_minutes": asked.minutes,
        "roofline": roof and {"gops": roof.gops, "gigabytes_a_second": roof.bandwidth},
        "not_begun": left,
    }
    packages = ("adaspring", "apache-tvm", "torch")
    report.write(asked.json, "gpu", packages, settings, results, ratios)


if __name__ == "__main__":
    main()
