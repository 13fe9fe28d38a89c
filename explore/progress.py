"""How the long work tells where it is; the command line draws it, a library caller may not."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told about every step of a long run."""

    def step(self, stage: str, done: int, total: int, detail: str) -> None:
        """`done` of `total` parts of `stage` are finished; `detail` is what it is at."""

    def note(self, text: str) -> None:
        """Tell what a person should know at once."""


class Silent:
    """Says nothing."""

    def step(self, stage: str, done: int, total: int, detail: str) -> None:
        """Ignore the step."""

    def note(self, text: str) -> None:
        """Ignore the note."""
