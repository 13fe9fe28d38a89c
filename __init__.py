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
    from .backends.tuning.settings import Tuning
    from .errors import AdaspringError
    from .explore.compile import compile_model as compile
    from .explore.plan import plan
    from .explore.request import Bounds, Request
    from .explore.retrain.retrain import retrain_model as retrain
    from .explore.tune import tune_model as tune
    from .library.context import Context
    from .library.follow.follower import Follower
    from .library.joined.libraries import Libraries
    from .library.loader import Library, load
    from .library.net import Net
    from .library.policies import Balanced, Budget, Deadline, LambdaRule
    from .library.sensors.readings import Readings
    from .library.sensors.sensors import Sensors
    from .library.sensors.trace import Recorder, Replay
    from .metrics import Metric

    __version__: str

__all__ = [
    "AdaspringError",
    "Balanced",
    "Bounds",
    "Budget",
    "Context",
    "Deadline",
    "Follower",
    "LambdaRule",
    "Libraries",
    "Library",
    "Metric",
    "Net",
    "Readings",
    "Recorder",
    "Replay",
    "Request",
    "Sensors",
    "Tuning",
    "__version__",
    "compile",
    "load",
    "plan",
    "retrain",
    "tune",
]

_HOMES = {
    "AdaspringError": (".errors", "AdaspringError"),
    "Balanced": (".library.policies", "Balanced"),
    "Bounds": (".explore.request", "Bounds"),
    "Budget": (".library.policies", "Budget"),
    "Context": (".library.context", "Context"),
    "Deadline": (".library.policies", "Deadline"),
    "LambdaRule": (".library.policies", "LambdaRule"),
    "Follower": (".library.follow.follower", "Follower"),
    "Libraries": (".library.joined.libraries", "Libraries"),
    "Library": (".library.loader", "Library"),
    "Metric": (".metrics", "Metric"),
    "Net": (".library.net", "Net"),
    "Readings": (".library.sensors.readings", "Readings"),
    "Recorder": (".library.sensors.trace", "Recorder"),
    "Replay": (".library.sensors.trace", "Replay"),
    "Request": (".explore.request", "Request"),
    "Sensors": (".library.sensors.sensors", "Sensors"),
    "Tuning": (".backends.tuning.settings", "Tuning"),
    "compile": (".explore.compile", "compile_model"),
    "load": (".library.loader", "load"),
    "plan": (".explore.plan", "plan"),
    "retrain": (".explore.retrain.retrain", "retrain_model"),
    "tune": (".explore.tune", "tune_model"),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = import_module("importlib.metadata").version("adaspring")
    elif name in _HOMES:
        module, attribute = _HOMES[name]
        value = getattr(import_module(module, __name__), attribute)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
