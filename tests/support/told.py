"""What a person is told while something is compiled."""

from __future__ import annotations

from adaspring.explore.progress import Silent


class Notes(Silent):
    """Keeps what a person is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)
