"""What every command shares: it answers once, and it fails in one line.

A command is a function that returns an `Answer`. `command` wraps it for typer: the answer goes to
stdout, as tables or as JSON; everything else (progress, notes, errors, what imported code prints
under --json) goes to stderr.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from .faults import INTERRUPTED_STATUS, exit_status, explain, printable

AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else there.")
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show logs, and where an error comes from.")
]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command found: `data` for machines, `shown` (rich renderables) for people."""

    data: dict[str, Any]
    shown: tuple[Any, ...]
    failed: bool = False


def command(function: Callable[..., Answer]) -> Callable[..., None]:
    """Make a typer command of a function that takes `as_json` and `verbose` among others."""

    @functools.wraps(function)
    def run(*, as_json: bool, verbose: bool, **options: Any) -> None:
        logging.basicConfig(handlers=[_stderr_handler()])
        ours = logging.getLogger(__name__.partition(".")[0])
        ours.setLevel(logging.DEBUG if verbose else logging.WARNING)
        try:
            with _only_the_answer_on_stdout(as_json):
                answer = function(as_json=as_json, verbose=verbose, **options)
            _print(answer, as_json)
        except (typer.Exit, BrokenPipeError):
            raise
        except KeyboardInterrupt as interrupt:
            typer.echo(printable(str(interrupt) or "interrupted"), err=True)
            raise typer.Exit(INTERRUPTED_STATUS) from None
        except Exception as error:
            if verbose:
                traceback.print_exc()
            typer.echo(f"error: {explain(error)}", err=True)
            raise typer.Exit(exit_status(error)) from None
        raise typer.Exit(int(answer.failed))

    return run


class _Printable(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def _stderr_handler() -> logging.Handler:
    handler = logging.StreamHandler()
    handler.setFormatter(_Printable("%(name)s: %(message)s"))
    return handler


@contextlib.contextmanager
def _only_the_answer_on_stdout(as_json: bool) -> Iterator[None]:
    if not as_json:
        yield
        return
    with contextlib.redirect_stdout(sys.stderr):
        yield


def _print(answer: Answer, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(answer.data, indent=1, allow_nan=False))
        return
    from .tables import console

    out = console()
    for renderable in answer.shown:
        out.print(renderable)
