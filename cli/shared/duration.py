"""Durations as people write them: 90s, 10m, 1.5h."""

from __future__ import annotations

import re

from ...errors import UsageError

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h)?")
_SECONDS = {"s": 1, None: 1, "m": 60, "h": 3600}


def parse_duration(option: str, text: str) -> float:
    """Seconds; UsageError names the option where it is no duration above nothing."""
    match = _DURATION.fullmatch(text.strip().lower())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not seconds > 0:
        raise UsageError(f"{option} {text!r} is not a duration; write for example 90s, 10m or 1h")
    return seconds
