"""The interface of a farm: an executor whose calls fail alone, by a crash or a hang too."""

from __future__ import annotations

from abc import abstractmethod
from concurrent.futures import Executor
from contextlib import AbstractContextManager

from ...errors import BuildError


class JobLost(BuildError):
    """A call crashed its worker or timed out; the text says which and how."""


class Farm(Executor):
    """An executor of module-level functions with picklable arguments and results.

    A call that crashes, hangs or uses up its memory raises JobLost from its future; every other
    exception comes out of the future as it was raised. Other calls do not notice. `width` is how
    many calls it carries out at once.
    """

    width: int

    @abstractmethod
    def pause(self) -> AbstractContextManager[None]:
        """Hold this machine's workers still meanwhile, so that something can be timed.

        For milliseconds: the time limit of what is running goes on. Not to be nested.
        """

    def close(self) -> None:
        """End all workers now; what is not done is cancelled."""
        self.shutdown(cancel_futures=True)

    def __exit__(self, kind, *_) -> None:
        """Wait for what was submitted; where the block was left by an exception, cancel it."""
        self.shutdown(cancel_futures=kind is not None)
