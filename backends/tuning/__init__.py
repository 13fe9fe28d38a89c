"""Search for the fastest schedule of every function, by building and timing candidates."""

from .engine import tune
from .log.log import TuningLog
from .log.shipped import shipped_logs
from .search.transfer import best_known, fastest_known
from .settings import Tuning, TuningReport
from .tasks import Task, tasks_of

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
