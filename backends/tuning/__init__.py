"""Search for the fastest schedule of every function, by building and timing candidates."""

from .engine import tune
from .log import TuningLog
from .settings import Tuning, TuningReport
from .shipped import shipped_logs
from .tasks import Task, tasks_of
from .transfer import best_known, fastest_known

__all__ = [
    "Task",
    "Tuning",
    "TuningLog",
    "TuningReport",
    "best_known",
    "fastest_known",
    "shipped_logs",
    "tasks_of",
    "tune",
]
