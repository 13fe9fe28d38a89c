"""`adaspring demo`: the whole way on real data, in some minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..shared.answer import Answer, AsJson, Verbose
from ..shared.bars import Bars

Output = Annotated[Path, typer.Option("--output", "-o", help="The folder to write to.")]


def demo(
    output: Output = Path("demo-out"), as_json: AsJson = False, verbose: Verbose = False
) -> Answer:
    """Train, compress, compile, measure and switch a network on scikit-learn's digits.

    For example:
      adaspring demo --output demo-out
    """
    from ..shared.tables import console
    from . import run_demo

    with Bars() as bars:
        run_demo(output, console(), bars)
    found = sorted(str(path.parent) for path in output.rglob("manifest.json"))
    return Answer(data={"output": str(output), "libraries": found}, shown=())
