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
        "machine": {"cpu": host().description, "system": platform.system()},
        "versions": {package: version(package) for package in packages},
        "settings": settings,
        "results": results,
        "ratios": ratios,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")
