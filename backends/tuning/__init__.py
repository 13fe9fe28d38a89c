"""Search for the fastest schedule of every function, by building and timing candidates."""

from .engine import tune
from .log import TuningLog
from .settings import Tuning, TuningReport
from .tasks import Task, tasks_of

__all__ = ["Task", "Tuning", "TuningLog", "TuningReport", "tasks_of", "tune"]
