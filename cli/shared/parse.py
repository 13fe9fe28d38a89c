"""What people write on a command line, read: durations, shapes, addresses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...errors import UsageError

if TYPE_CHECKING:
    from ...backends.rpc.protocol import Address
    from ...backends.tuning.settings import Tuning

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h)?")
_SHAPE = re.compile(r"([^=]+)=(\d+(?:,\d+)*)")
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


def parse_shapes(texts: Sequence[str] | None) -> dict[str, tuple[int, ...]]:
    """Read what --shape gives: each input's shape by its name."""
    found: dict[str, tuple[int, ...]] = {}
    for text in texts or ():
        match = _SHAPE.fullmatch(text)
        if match is None:
            raise UsageError(
                f"--shape {text!r} is not an input's name and its extents; "
                "write for example x=1,3,32,32"
            )
        found[match[1]] = tuple(int(extent) for extent in match[2].split(","))
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
