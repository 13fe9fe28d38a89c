"""AdaSpring: one trained network in, a library of compiled variants out, switched inside an app.

    import adaspring

    net = adaspring.load("digits.lib").open()
    y = net(x)
    net.adapt(adaspring.Context(battery_ratio=0.2, latency_budget_ms=5))

Names are imported when first used, so an app never pays for the compiler.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import AdaspringError
    from .library.context import Context
    from .library.loader import Library, load
    from .library.net import Net

    __version__: str

__all__ = ["AdaspringError", "Context", "Library", "Net", "__version__", "load"]

_HOMES = {
    "AdaspringError": ".errors",
    "Context": ".library.context",
    "Library": ".library.loader",
    "Net": ".library.net",
    "load": ".library.loader",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = import_module("importlib.metadata").version("adaspring")
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name], __name__), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
