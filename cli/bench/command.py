"""`adaspring bench`: how fast each variant of a library is here, and how fast it switches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import UsageError
from ..shared.answer import Answer, AsJson, Verbose

if TYPE_CHECKING:
    from ...library.manifest import Manifest
    from .duty import DutyCycle
    from .switching import Switches
    from .timing import Timed

LibraryFolder = Annotated[Path, typer.Argument(metavar="LIB", help="The library's folder.")]
Switch = Annotated[
    bool, typer.Option("--switch", help="Time deciding and switching instead of inference.")
]
PerFunction = Annotated[
    bool, typer.Option("--profile", help="Time every layer of each variant within the network.")
]
Duty = Annotated[
    bool,
    typer.Option("--duty", help="Time calls with pauses between them, and beside a busy process."),
]
Seconds = Annotated[
    float, typer.Option("--seconds", min=0.1, help="About how long to measure inference.")
]


def bench(
    lib: LibraryFolder,
    switch: Switch = False,
    profile: PerFunction = False,
    duty: Duty = False,
    seconds: Seconds = 10.0,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> Answer:
    """Time every variant of a library in turn, or (--switch) the switching between them.

    --profile says for every layer of each variant which kernel ran, how long it took, and how near
    it came to what the processor can do.

    --duty calls without a pause, every 50 ms and every second, alone and beside a busy process, and
    says what processor time a call costs.

    One call takes one input of random numbers, with the board's threads, as in an app: of each
    shape that the library holds in turn; with --switch, --profile and --duty of the first.

    For example:
      adaspring bench net.lib
      adaspring bench net.lib --switch
      adaspring bench net.lib --profile
      adaspring bench net.lib --duty
    """
    given = [name for name, is_given in _modes(switch, profile, duty) if is_given]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} measure different things; give one of them")
    if profile:
        from .profile import profile_answer

        return profile_answer(lib, seconds)
    from ...library.loader import load
    from ..shared.bars import Bars
    from ..shared.samples import random_samples

    library = load(lib)
    shapes = library.manifest.signatures
    samples = [random_samples(signature.inputs, None).inputs for signature in shapes]
    with Bars() as bars:
        if switch:
            from .switching import time_switches

            return _switch_answer(lib, time_switches(library, samples[0], seconds, bars))
        if duty:
            from .duty import duty_cycles

            cycles = duty_cycles(library, samples[0], seconds, bars)
            return _duty_answer(lib, library.manifest, cycles)
        from .timing import time_variants

        part = seconds / len(samples)
        found = [time_variants(library, sample, part, bars) for sample in samples]
    return _latency_answer(lib, library.manifest, found)


def _modes(switch: bool, profile: bool, duty: bool) -> tuple[tuple[str, bool], ...]:
    return ("--switch", switch), ("--profile", profile), ("--duty", duty)


def _duty_answer(lib: Path, manifest: Manifest, found: Sequence[DutyCycle]) -> Answer:
    from ..shared.tables import line, table

    rows = [
        (c.variant, f"every {c.period_ms:g} ms" if c.period_ms else "without a pause",
         "a busy process" if c.neighbours_count else "nothing", f"{c.p50_ms:.3g}",
         f"{c.p90_ms:.3g}", f"{c.processor_ms:.3g}", str(c.calls_count))
        for c in found
    ]  # fmt: skip
    columns = (
        "variant", "called", "beside", ">p50 ms", ">p90 ms", ">processor ms a call", ">calls",
    )  # fmt: skip
    data = {
        "library": str(lib),
        "board": manifest.board.name,
        "threads_count": manifest.board.thread_count,
        "duty_cycles": [asdict(cycle) for cycle in found],
    }
    how = line(f"at most {manifest.board.thread_count} threads, random input", "dim")
    return Answer(data=data, shown=(table(str(lib), columns, rows), how))


def _latency_answer(lib: Path, manifest: Manifest, found: Sequence[Sequence[Timed]]) -> Answer:
    """Tell of each variant at each shape."""
    from ..shared.library_tables import at_shape
    from ..shared.tables import line, table

    timed = [(index, t) for index, times in enumerate(found) for t in times]
    rows = [
        (at_shape(manifest, index, t.variant), f"{t.p50_ms:.3g}", f"{t.p90_ms:.3g}",
         f"{t.ratio_to_plainest:.3f}", f"{1 / t.ratio_to_plainest:.2f}x")
        for index, t in timed
    ]  # fmt: skip
    columns = ("variant", ">p50 ms", ">p90 ms", f">time / {manifest.plainest}", ">speed-up")
    count, threads = found[0][0].calls_count, manifest.board.thread_count
    data = {
        "library": str(lib),
        "board": manifest.board.name,
        "threads_count": threads,
        "plainest": manifest.plainest,
        "variants": [
            {
                "name": t.variant,
                "inputs": {s.name: s.shape for s in manifest.signatures[index].inputs},
                "calls_count": t.calls_count,
                "p50_ms": t.p50_ms,
                "p90_ms": t.p90_ms,
                "ratio_to_plainest": t.ratio_to_plainest,
            }
            for index, t in timed
        ],
    }
    how = line(f"{count} calls of each, in turn, {threads} threads, random input", "dim")
    return Answer(data=data, shown=(table(str(lib), columns, rows), how))


def _switch_answer(lib: Path, found: Switches) -> Answer:
    from ..shared.tables import line, table

    data: dict[str, Any] = {
        "library": str(lib),
        "variants": list(found.variants),
        "switches_count": found.switches_count,
    }
    rows = []
    for name in ("decide", "switch", "total"):
        median, p99 = getattr(found, f"{name}_us")
        data |= {f"{name}_p50_us": median, f"{name}_p99_us": p99}
        label = "decide + switch" if name == "total" else name
        rows.append((label, f"{median:.1f}", f"{p99:.1f}"))
    data["first_inference"] = [
        {
            "variant": first.variant,
            "first_p50_ms": first.first_ms,
            "steady_p50_ms": first.steady_ms,
            "ratio": first.ratio,
            "switches_count": first.count,
        }
        for first in found.first
    ]
    after = [
        (f.variant, f"{f.first_ms:.3g}", f"{f.steady_ms:.3g}", f"{f.ratio:.2f}", str(f.count))
        for f in found.first
    ]
    columns = ("variant", ">first ms", ">steady ms", ">ratio", ">switches")
    how = f"{found.switches_count} switches among {', '.join(found.variants)}, loaded ahead"
    return Answer(
        data=data,
        shown=(
            table(str(lib), ("", ">median µs", ">p99 µs"), rows),
            line(how, "dim"),
            table("The first inference after a switch", columns, after),
        ),
    )
