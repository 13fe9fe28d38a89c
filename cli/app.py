"""The commands, as a list that can be read."""

from __future__ import annotations

import typer

from .bench.command import bench
from .boards.command import serve, tracker
from .boards.emulate import emulate
from .boards.list import list_boards
from .compile.command import compile_model
from .demo.command import demo
from .doctor.command import doctor
from .inspect import inspect
from .logs import compact, merge, show
from .retrain.command import retrain
from .run import run
from .shared.answer import command
from .targets import targets
from .tune import tune
from .watch.command import watch

app = typer.Typer(
    name="adaspring",
    help="Turn a trained network into libraries of compressed, compiled, measured variants, "
    "one library for each board, between which an app switches while it runs.",
    epilog="Start with: adaspring doctor, then adaspring demo. "
    "Exit status: 0 done, 1 failed, 2 wrong use, 130 interrupted.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

COMMANDS = (
    ("compile", compile_model),
    ("tune", tune),
    ("retrain", retrain),
    ("inspect", inspect),
    ("run", run),
    ("bench", bench),
    ("watch", watch),
    ("targets", targets),
    ("doctor", doctor),
    ("demo", demo),
)

BOARD_COMMANDS = (
    ("list", list_boards),
    ("tracker", tracker),
    ("serve", serve),
    ("emulate", emulate),
)

LOG_COMMANDS = (
    ("show", show),
    ("merge", merge),
    ("compact", compact),
)

for _name, _function in COMMANDS:
    app.command(_name)(command(_function))

_boards = typer.Typer(
    help="Boards over RPC: list them, run their tracker, serve this machine, emulate an ARM board.",
    no_args_is_help=True,
)
for _name, _board_function in BOARD_COMMANDS:
    _boards.command(_name)(command(_board_function))
app.add_typer(_boards, name="boards")

_logs = typer.Typer(
    help="Tuning logs: show what one holds, merge several, shorten one.", no_args_is_help=True
)
for _name, _log_function in LOG_COMMANDS:
    _logs.command(_name)(command(_log_function))
app.add_typer(_logs, name="logs")
