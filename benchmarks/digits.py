"""The demo's network: our variants against ONNX Runtime, in turn, on the same threads.

Run `make demo` first; then `python benchmarks/digits.py [--demo demo-out]`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import report
import torch
from peer_calls import onnxruntime_calls

import adaspring
from adaspring.explore.measure.timing import time_in_turn
from adaspring.targets import host

PEERS = ("onnxruntime-fp32", "onnxruntime-int8")


def peers(demo: Path, folder: Path, threads: int):
    """ONNX Runtime's sessions of the same network, fp32 and static int8 (QDQ, per channel)."""
    program = torch.export.load(demo / "digits.pt2")
    torch.onnx.export(program, dynamo=True, verbose=False).save(folder / "net.onnx")
    samples = [image[None] for image in np.load(demo / "held-out.npz")["x"][:128]]
    return onnxruntime_calls(folder / "net.onnx", samples, threads)


def main() -> None:
    """Time, print, write JSON."""
    parser = report.arguments(__doc__, "a few seconds of timing")
    parser.add_argument("--demo", type=Path, default=Path("demo-out"))
    arguments = parser.parse_args()
    if not (arguments.demo / "digits.pt2").exists():
        sys.exit(f"{arguments.demo}/digits.pt2 is missing; run `make demo` first")
    seconds, board = 5.0 if arguments.quick else 60.0, host()
    library = adaspring.load(arguments.demo / "libraries" / "host")
    calls = {name: library.open(name, preload=False) for name in library.variants}
    with tempfile.TemporaryDirectory() as folder:
        calls |= peers(arguments.demo, Path(folder), board.core_count)
        sample = [np.load(arguments.demo / "held-out.npz")["x"][:1]]
        times = time_in_turn(calls, sample, seconds)
    if arguments.quick:
        print("quick: few rounds; the figures are rough")
    rows, ratios = [], {}
    for name, found in times.items():
        rows.append({"variant": name, "p50_ms": float(np.median(found)), "calls": found.size})
        shown = f"{name:20} {rows[-1]['p50_ms']:8.4f} ms"
        for peer in PEERS:
            label = f"{peer}_over_{name}"
            rounds = np.median(times[peer], axis=1) / np.median(found, axis=1)
            ratios[label] = report.ratio(rounds)
            shown += f"   {ratios[label]['median']:6.2f} x as fast as {peer}"
        print(shown)
    packages = ("adaspring", "apache-tvm", "onnxruntime")
    settings = {"seconds": seconds, "threads": board.core_count, "batch": 1}
    report.write(arguments.json, "digits", packages, settings, rows, ratios)


if __name__ == "__main__":
    main()
