"""What every benchmark writes: one JSON with the machine, the versions, the rows and the ratios."""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from adaspring.targets import host


def arguments(doc: str | None, quick: str) -> argparse.ArgumentParser:
    """The options that every benchmark has; `quick` says what --quick leaves out."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--json", type=Path, help="write the results here")
    return parser


def ratio(values: Sequence[float] | np.ndarray) -> dict[str, float]:
    """Median, extremes and number of ratios of two things that were timed in turn."""
    found = np.asarray(values, dtype=float)
    return {
        "median": float(np.median(found)),
        "min": float(found.min()),
        "max": float(found.max()),
        "runs": int(found.size),
    }


def ratios_by(
    results: Sequence[Mapping[str, Any]], name: Callable[[Mapping[str, Any]], str]
) -> dict[str, dict[str, float]]:
    """The ratios of all results (`over`, where there are any), each with its result's name."""
    return {
        f"{label} {name(found)}": ratio
        for found in results
        for label, ratio in found.get("over", {}).items()
    }


def processor() -> str:
    """Which kind of core this is, where Linux says it: names like "AMD EPYC" are of many."""
    told = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
    fields = dict(line.split(":", 1) for line in told.splitlines() if ":" in line)
    known = {name.strip(): value.strip() for name, value in fields.items()}
    wanted = ("cpu family", "model", "CPU implementer", "CPU part")
    return ", ".join(f"{name} {known[name]}" for name in wanted if name in known)


def write(
    path: Path | None,
    name: str,
    packages: Sequence[str],
    settings: Mapping[str, object],
    results: Sequence[Mapping[str, object]],
    ratios: Mapping[str, Mapping[str, float]],
) -> None:
    """Write the JSON, where a path was asked for."""
    if path is None:
        return
    found = {
        "name": name,
        "machine": {
            "cpu": host().description,
            "processor": processor(),
            "instructions": list(host().cpu_features),
            "system": platform.system(),
        },
        "versions": {package: version(package) for package in packages},
        "settings": settings,
        "results": results,
        "ratios": ratios,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")
