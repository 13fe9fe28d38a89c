"""The command line; docs/commands.md describes it."""

from __future__ import annotations

import sys

_COMMAND_PACKAGES = ("click", "rich", "typer")
_INTERRUPTED_STATUS = 130


def main() -> None:
    """Run the command line; where only the app side is installed, say what to install."""
    try:
        from .app import app

        app(prog_name="adaspring")
    except ModuleNotFoundError as error:
        if error.name not in _COMMAND_PACKAGES:
            raise
        sys.exit(
            f"error: the commands need {error.name}, which is not installed; "
            "pip install 'adaspring[cli]' to run libraries, 'adaspring[compiler]' to make them"
        )
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(_INTERRUPTED_STATUS)
