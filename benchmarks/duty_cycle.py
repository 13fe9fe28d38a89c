"""What a call costs at an app's pace, beside ONNX Runtime. `python benchmarks/duty_cycle.py`.

Latency and processor time at 1, 5 and 20 calls a second and without a pause, alone and beside one
and two busy processes; and without a pause, our thread pool against TVM's own.
"""

from __future__ import annotations

import multiprocessing
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import report

NETWORKS = ("DsCnn", "ResNet8", "MobileNetV2")
RATES_HZ = (1, 5, 20, 0)  # 0: without a pause
NEIGHBOURS = (0, 1, 2)
OURS, PEER = "adaspring", "onnxruntime"
TURNS = 4


def make_files(name: str, folder: Path) -> tuple[Path, Path]:
    """The seeded network as a library, by shipped schedules without tuning, and as an ONNX file."""
    import networks
    import torch
    from peer_calls import save_onnx

    import adaspring
    from adaspring.frontend.from_torch.importer import from_torch

    warnings.filterwarnings("ignore", module="torch.onnx")
    (kind,) = (kind for kind in networks.NETWORKS if kind.__name__ == name)
    network, shape = networks.seeded(kind), kind.example_shape
    adaspring.compile(
        from_torch(network, (torch.zeros(shape),), name=name),
        folder / f"{name}.lib",
        recipes=("dense",),
        tuning=adaspring.Tuning(trials=0),
        logs=folder / "logs",
    )
    save_onnx(network, shape, folder / f"{name}.onnx")
    return folder / f"{name}.lib", folder / f"{name}.onnx"


def serve(line: Connection, library: Path, onnx: Path | None) -> None:
    """Answer (period in s, seconds) with the times of calls in ms and the processor ms of each.

    With an ONNX file in ONNX Runtime, else in the library. A process of its own for each, so that
    processor time is told apart.
    """
    import adaspring
    from adaspring.cli.bench.duty import time_calls

    opened = adaspring.load(library)
    (spec,) = opened.manifest.inputs
    x = np.random.default_rng(0).standard_normal(spec.shape).astype(spec.dtype)
    if onnx is None:
        net = opened.open()
    else:
        from peer_calls import onnxruntime_call

        net = onnxruntime_call(onnx, opened.manifest.board.thread_count)
    while (asked := line.recv()) is not None:
        line.send(time_calls(lambda: net(x), *asked))


@contextmanager
def child(target: Callable[..., None], *arguments: object) -> Iterator[Connection]:
    """The line to a function that serves in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=target, args=(there, *arguments), daemon=True)
    process.start()
    yield here
    here.send(None)
    process.join()


def cells(name: str, library: Path, onnx: Path, seconds: float) -> Iterator[dict[str, object]]:
    """A row for each rate and number of busy processes: both runners, in turn."""
    from adaspring.cli.bench.duty import busy_neighbours

    with ExitStack() as stack:
        lines = {
            OURS: stack.enter_context(child(serve, library, None)),
            PEER: stack.enter_context(child(serve, library, onnx)),
        }
        for count in NEIGHBOURS:
            with busy_neighbours(count):
                for hz in RATES_HZ:
                    found = in_turn(lines, 1 / hz if hz else 0.0, seconds if hz else seconds / 4)
                    yield {"network": name, "calls_per_s": hz, "neighbours": count, **found}


def in_turn(lines: Mapping[str, Connection], period_s: float, seconds: float) -> dict[str, object]:
    """Ask each runner in turn, several times; its figures over all."""
    times: dict[str, list[np.ndarray]] = {runner: [] for runner in lines}
    spent: dict[str, float] = dict.fromkeys(lines, 0.0)
    for turn in range(TURNS):
        for runner in list(lines) if turn % 2 else reversed(list(lines)):
            lines[runner].send((period_s, seconds / TURNS))
            times_ms, processor_ms = lines[runner].recv()
            times[runner].append(times_ms)
            spent[runner] += processor_ms * times_ms.size
    return {runner: figures(np.concatenate(times[runner]), spent[runner]) for runner in lines}


def figures(times_ms: np.ndarray, processor_ms: float) -> dict[str, float]:
    """Median, 90th percentile, and processor time a call."""
    return {
        "p50_ms": float(np.median(times_ms)),
        "p90_ms": float(np.percentile(times_ms, 90)),
        "processor_ms": processor_ms / times_ms.size,
        "calls": int(times_ms.size),
    }


def compare_pools(line: Connection, library: Path, copy: Path) -> None:
    """Send the ms of a call without a pause, on our pool and on TVM's, in turn; in pairs."""
    import adaspring
    from adaspring.backends.tvm_threads import use_threads
    from adaspring.library import runtime

    ours = adaspring.load(library)
    (spec,) = ours.manifest.inputs
    x = np.random.default_rng(0).standard_normal(spec.shape).astype(spec.dtype)
    on_ours = ours.open()
    shutil.copytree(library, copy)  # a file that is in use is not loaded twice
    give_to, runtime.pool.give_to = runtime.pool.give_to, lambda code: None
    on_tvms = adaspring.load(copy).open()
    runtime.pool.give_to = give_to
    use_threads(ours.manifest.board.thread_count)
    np.testing.assert_array_equal(on_ours(x), on_tvms(x))
    while (seconds := line.recv()) is not None:
        pairs, end = [], time.perf_counter() + seconds
        while time.perf_counter() < end:
            pairs.append((mean_ms(on_ours, x), mean_ms(on_tvms, x)))
            later, sooner = mean_ms(on_tvms, x), mean_ms(on_ours, x)
            pairs.append((sooner, later))
        line.send(pairs)


def mean_ms(call: Callable[[np.ndarray], object], x: np.ndarray) -> float:
    """A call's share of a fifth of a second of calls: what is rare and slow counts too."""
    for _ in range(3):
        call(x)
    begin, count = time.perf_counter(), 0
    while time.perf_counter() - begin < 0.2:
        call(x)
        count += 1
    return 1e3 * (time.perf_counter() - begin) / count


def shown(row: Mapping[str, object]) -> str:
    """A cell as a line."""
    ours, peer = row[OURS], row[PEER]
    return (
        f"{row['network']:12} {row['calls_per_s'] or 'all':>4} a second  beside {row['neighbours']}"
        f"   p50 {ours['p50_ms']:8.3f} ms ({ours['p50_ms'] / peer['p50_ms']:.2f} x ORT)"
        f"   p90 {ours['p90_ms']:8.3f} ms ({ours['p90_ms'] / peer['p90_ms']:.2f} x)"
        f"   processor {ours['processor_ms']:8.3f} ms"
        f" ({ours['processor_ms'] / peer['processor_ms']:.3f} x)"
    )


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = report.arguments(__doc__, "the smallest network, a few calls: three minutes")
    arguments = parser.parse_args()
    names, seconds = (NETWORKS[:1], 4.0) if arguments.quick else (NETWORKS, 8.0)
    rows: list[dict[str, object]] = []
    ratios: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for network in names:
            library, onnx = make_files(network, folder)
            with child(compare_pools, library, folder / f"{network}.copy") as line:
                line.send(seconds)
                pairs = np.array(line.recv())
            kept = ratios[f"{network} without a pause: our pool's time over TVM's"] = report.ratio(
                pairs[:, 0] / pairs[:, 1]
            )
            typical = np.median(pairs, axis=0)
            print(f"{network:12} our pool over TVM's: median of pairs {kept['median']:.3f},"
                  f" {typical[0]:.3f} over {typical[1]:.3f} ms")  # fmt: skip
            for row in cells(network, library, onnx, seconds):
                rows.append(row)
                print(shown(row), flush=True)
    settings = {"quick": arguments.quick, "seconds": seconds, "turns": TURNS}
    packages = ("adaspring", "apache-tvm-ffi", "numpy", "onnxruntime")
    report.write(arguments.json, "duty_cycle", packages, settings, rows, ratios)


if __name__ == "__main__":
    main()
