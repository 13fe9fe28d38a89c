"""Search for the fastest schedule of every function, by building and timing candidates."""

from .engine import Tuning, TuningReport, tune
from .log import TuningLog
from .tasks import Task, tasks_of

__all__ = ["Task", "Tuning", "TuningLog", "TuningReport", "tasks_of", "tune"]
