"""``package.module:function`` names a Python function, which is imported and called."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import AdaspringError

_NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def is_factory(source: str) -> bool:
    """Whether the text has the form ``package.module:function``."""
    return _NAME.fullmatch(source) is not None


def call_factory(source: str, error: type[AdaspringError]) -> Any:
    """Call the named function; modules of the working directory are found too."""
    return _guarded(source, error, lambda: _named(source)())


def find_named(source: str, error: type[AdaspringError]) -> Any:
    """Import what the text names, and do not call it."""
    return _guarded(source, error, lambda: _named(source))


def _named(source: str) -> Any:
    module_name, _, name = source.partition(":")
    return getattr(importlib.import_module(module_name), name)


def _guarded(source: str, error: type[AdaspringError], do: Callable[[], Any]) -> Any:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        return do()
    except AdaspringError:
        raise
    except Exception as problem:
        what = f"{type(problem).__name__}: {problem}".splitlines()[0]
        raise error(f"{source} failed ({what}); see docs/models-and-data.md") from problem
    finally:
        sys.path.remove(here)
