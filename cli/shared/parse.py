"""What people write on a command line, read: durations, shapes, addresses."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...errors import UsageError

if TYPE_CHECKING:
    from ...backends.rpc.protocol import Address
    from ...backends.tuning.settings import Tuning

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h)?")
_SHAPE = re.compile(r"([^=]+)=(.+)")
_EXTENTS = re.compile(r"-?\d+(,-?\d+)*")
_LIST = re.compile(r"\{([^{}]*)\}")
_SECONDS = {"s": 1, None: 1, "m": 60, "h": 3600}


def parse_duration(option: str, text: str | None) -> float | None:
    """Seconds of 90s, 10m or 1.5h, or None; UsageError names the option where it is neither."""
    if text is None:
        return None
    match = _DURATION.fullmatch(text.strip().lower())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not seconds > 0:
        raise UsageError(f"{option} {text!r} is not a duration; write for example 90s, 10m or 1h")
    return seconds


def parse_shapes(texts: Sequence[str] | None) -> tuple[dict[str, tuple[int, ...]], ...]:
    """Read what --shape gives: shapes, each one of every input that is named.

    An input has several shapes where it is given several times, or with a list of extents in
    braces; the first of one input goes with the first of another, and so on. An input that is given
    once has that shape in all.
    """
    by_name: dict[str, list[tuple[int, ...]]] = {}
    for text in texts or ():
        match = _SHAPE.fullmatch(text)
        shapes = _shapes(match[2]) if match else []
        if not match or not shapes:
            raise UsageError(
                f"--shape {text!r} is not an input's name and its extents; write for example "
                "x=1,3,32,32 or 'ids=1,{16,32,64}'"
            )
        by_name.setdefault(match[1], []).extend(shapes)
    count = max(map(len, by_name.values()), default=0)
    for name, shapes in by_name.items():
        if len(shapes) not in (1, count):
            many = next(other for other, found in by_name.items() if len(found) == count)
            raise UsageError(
                f"--shape gives {name} {len(shapes)} shapes and {many} {count}; they go together, "
                "the first with the first, so give as many of each, or one"
            )
    return tuple(
        {name: shapes[at % len(shapes)] for name, shapes in by_name.items()} for at in range(count)
    )


def _shapes(text: str) -> list[tuple[int, ...]]:
    """Read extents with at most one list in braces, a shape for each of it; none if it is wrong."""
    lists = _LIST.findall(text)
    if len(lists) > 1:
        raise UsageError(
            f"--shape …={text} has {len(lists)} lists, which could go together or each with each; "
            "write the shapes one by one, for example --shape x=1,16 --shape x=8,16"
        )
    written = [_LIST.sub(each, text) for each in (lists[0].split(",") if lists else ("",))]
    if not all(map(_EXTENTS.fullmatch, written)):
        return []
    return [tuple(map(int, each.split(","))) for each in written]


def parse_pad(texts: Sequence[str] | None) -> dict[str, float]:
    """Read what --pad gives: the value that fills up each input, by its name."""
    found: dict[str, float] = {}
    for text in texts or ():
        name, _, value = text.rpartition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not name or not math.isfinite(number):
            raise UsageError(
                f"--pad {text!r} is not an input and a number; write for example ids=0"
            )
        if name in found:
            raise UsageError(f"--pad gives {name} twice; give each input once")
        found[name] = number
    return found


def parse_states(texts: Sequence[str] | None) -> dict[str, str]:
    """Read what --state gives: the output that each input takes from the call before."""
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, output = text.partition("=")
        if not (name and equals and output):
            raise UsageError(
                f"--state {text!r} is not an input and an output; write for example h=hn"
            )
        if name in found:
            raise UsageError(f"--state gives {name} twice; it takes one output")
        found[name] = output
    return found


def parse_tuning(trials: int, time_limit: str | None, tuner: str, seed: int) -> Tuning:
    """Read what --trials, --time-limit, --tuner and --seed say of tuning."""
    from ...backends.tuning.settings import Tuning

    return Tuning(
        trials=trials,
        time_limit_s=parse_duration("--time-limit", time_limit),
        tuner=tuner,  # type: ignore[arg-type]
        seed=seed,
    )


def parse_tracker(text: str | None) -> Address | None:
    """Read HOST:PORT, or None."""
    from ...backends.rpc.protocol import Address

    return Address.parse(text) if text else None
