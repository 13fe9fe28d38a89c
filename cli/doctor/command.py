"""`adaspring doctor`: what is here, what is missing, and what to do about it."""

from __future__ import annotations

from ..shared.answer import Answer, AsJson, Verbose
from .checks import Check, check_all, is_app_side


def doctor(as_json: AsJson = False, verbose: Verbose = False) -> Answer:
    """Check Python, packages, processor, linkers, CUDA and the runtime.

    Exit status 0 where everything needed is there. Where nothing of the compiler is installed,
    that is what an app needs.

    For example:
      adaspring doctor
    """
    checks = check_all()
    bad = [check for check in checks if check.essential and check.status != "ok"]
    data = {
        "ok": not bad,
        "checks": [
            {
                "name": check.name,
                "status": check.status,
                "detail": check.detail,
                "todo": check.todo,
                "essential": check.essential,
            }
            for check in checks
        ],
    }
    return Answer(data=data, shown=_shown(checks, len(bad)), failed=bool(bad))


def _shown(checks: tuple[Check, ...], bad_count: int) -> tuple[object, ...]:
    from ..shared.tables import line, table

    rows = [
        (c.name, c.status if c.essential or c.status == "ok" else f"{c.status} (optional)",
         c.detail, c.todo)
        for c in checks
    ]  # fmt: skip
    verdict = line("everything needed is here", "green")
    if is_app_side():
        todo = "to compile, pip install 'adaspring[compiler]'"
        verdict = line(f"everything that an app needs is here; {todo}", "green")
    if bad_count:
        verdict = line(f"{bad_count} of what is needed is missing or wrong", "bold red")
    return table("", ("what", "status", "found", "to do"), rows), verdict
