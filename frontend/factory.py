"""``package.module:function`` names a Python function, which is imported and called."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

from ..errors import AdaspringError

_NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def is_factory(source: str) -> bool:
    """Whether the text has the form ``package.module:function``."""
    return _NAME.fullmatch(source) is not None


def call_factory(source: str, error: type[AdaspringError]) -> Any:
    """Call the named function; modules of the working directory are found too."""
    module_name, _, function_name = source.partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        function = getattr(importlib.import_module(module_name), function_name)
        return function()
    except AdaspringError:
        raise
    except Exception as problem:
        what = f"{type(problem).__name__}: {problem}".splitlines()[0]
        raise error(f"{source} failed ({what}); see docs/models-and-data.md") from problem
    finally:
        sys.path.remove(here)
