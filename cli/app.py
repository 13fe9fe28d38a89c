"""The commands, as a list that can be read."""

from __future__ import annotations

import typer

from .bench import bench
from .command import command
from .compile import compile_model
from .demo_command import demo
from .doctor import doctor
from .inspect import inspect
from .run import run
from .targets import targets
from .tune import tune

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
    ("inspect", inspect),
    ("run", run),
    ("bench", bench),
    ("targets", targets),
    ("doctor", doctor),
    ("demo", demo),
)

for _name, _function in COMMANDS:
    app.command(_name)(command(_function))
