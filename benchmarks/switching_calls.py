"""Calls from several threads while another adapts: is every answer right; what do switches take.

An answer is right if it is, bit for bit, what the network that the net says it ran gives alone.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from in_pieces import SUBJECTS, library_of

import adaspring
from adaspring.library.loader import Library
from adaspring.library.net import Net, Switch

THREADS, SAMPLES, SEGMENTS, CONTEXTS = 4, 32, 4, 2_000

PAUSE_S = 1e-4
"""Between adapts. Without it calls starve: NumPy gives up the interpreter's lock for microseconds
at a time, and each time CPython has the threads that wait for it begin to wait anew."""


class Answer(NamedTuple):
    """The number of the sample, what ran, and the digest of what it gave."""

    sample: int
    variant: str
    digest: bytes


def rows(quick: bool) -> Iterator[Mapping[str, object]]:
    """The calls, the switches meanwhile, and as many with nothing beside."""
    calls = 5_000 if quick else 100_000
    with TemporaryDirectory() as name:
        library, test = library_of(SUBJECTS["digits"], Path(name), SEGMENTS, 0.0)
        with library:
            samples = list(test.inputs[0][:SAMPLES, None])
            asked = contexts(library)
            answers, failures, switches = busy_calls(library.open(), samples, calls, asked)
            right = references(library, samples, {each.variant for each in answers})
            yield {
                "what": "calls",
                "threads": THREADS,
                "answered": len(answers),
                "wrong": sum(each.digest != right[each.variant][each.sample] for each in answers),
                "failed": len(failures),
                "networks": len(right),
            }
            yield {"what": "switches beside calls", **figures(switches)}
            net = library.open()
            yield {"what": "switches alone", **figures([net.adapt(each) for each in asked])}


def contexts(library: Library) -> list[adaspring.Context]:
    """Seeded contexts, under which many networks are the best."""
    random = np.random.default_rng(0)
    dense = library.manifest.variant(library.manifest.plainest).cost.latency_p90_ms
    assert dense is not None, "this machine's latencies are measured"
    ratios = np.exp(random.uniform(np.log(0.1), np.log(1.5), CONTEXTS))
    return [
        adaspring.Context(
            battery_ratio=float(battery), latency_budget_ms=dense.value * float(ratio)
        )
        for battery, ratio in zip(random.uniform(size=CONTEXTS), ratios, strict=True)
    ]


def busy_calls(
    net: Net, samples: Sequence[np.ndarray], calls: int, asked: Sequence[adaspring.Context]
) -> tuple[list[Answer], list[Exception], list[Switch]]:
    """What all threads were answered, what failed, and the switches of this thread meanwhile."""
    answers: list[Answer] = []
    failures: list[Exception] = []
    here = threading.local()
    net.on_call(lambda call: setattr(here, "variant", call.variant))

    def call(seed: int) -> None:
        random = np.random.default_rng(seed)
        for sample in random.integers(len(samples), size=calls // THREADS).tolist():
            try:
                digest = sha256(net(samples[sample]).tobytes()).digest()
            except Exception as error:  # none may fail, whatever it is
                failures.append(error)
            else:
                answers.append(Answer(sample, here.variant, digest))

    threads = [threading.Thread(target=call, args=(seed,)) for seed in range(THREADS)]
    switches = []
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)  # else a call waits 5 ms for a thread that adapts all the time
    for thread in threads:
        thread.start()
    for context in cycle(asked):
        switches.append(net.adapt(context))
        time.sleep(PAUSE_S)
        if not any(thread.is_alive() for thread in threads):
            break
    sys.setswitchinterval(usual_s)
    return answers, failures, switches


def references(
    library: Library, samples: Sequence[np.ndarray], names: set[str]
) -> dict[str, list[bytes]]:
    """The digests of what each network gives alone, for each sample."""
    found = {}
    for name in names:
        with library.open(name, preload=False) as net:
            found[name] = [sha256(net(sample).tobytes()).digest() for sample in samples]
    return found


def figures(switches: Sequence[Switch]) -> dict[str, float | int]:
    """How many, how many of them moved, and the times of those that did."""
    moved = [each for each in switches if each.from_variant != each.to_variant]
    return {
        "adapts": len(switches),
        "moved": len(moved),
        "decide_p50_us": float(np.median([each.decide_us for each in switches])),
        "decide_p99_us": float(np.percentile([each.decide_us for each in switches], 99)),
        "switch_p50_ms": float(np.median([each.switch_ms for each in moved])),
        "switch_p99_ms": float(np.percentile([each.switch_ms for each in moved], 99)),
    }
