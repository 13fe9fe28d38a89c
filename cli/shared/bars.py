"""Progress on stderr: bars for people, a line every half minute where stderr is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from .faults import printable
from .lines import Lines
from .tables import console


class Bars:
    """One bar for each stage that is stepped through; a context manager."""

    def __init__(self) -> None:
        out = console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[detail]}", style="dim", markup=False),
            console=out,
            disable=not out.is_terminal,
            # what is printed meanwhile goes above the bars, unless it goes to a file
            redirect_stdout=sys.stdout.isatty(),
        )
        self._tasks: dict[str, TaskID] = {}
        self._lines = None if out.is_terminal else Lines(self.note)

    def __enter__(self) -> Bars:
        self._progress.start()
        if self._lines is not None:
            self._lines.__enter__()
        return self

    def __exit__(self, *failure: object) -> None:
        if self._lines is not None:
            self._lines.__exit__(*failure)
        self._progress.stop()

    def step(self, stage: str, done: int, total: int, detail: str) -> None:
        """Draw that `done` of `total` parts of `stage` are finished; the stage before is over."""
        detail = printable(detail)
        if self._lines is not None:
            self._lines.step(stage, done, total, detail)
        if stage not in self._tasks:
            for task in self._progress.tasks:
                self._progress.update(task.id, completed=task.total)
            self._tasks[stage] = self._progress.add_task(stage, total=total, detail=detail)
        self._progress.update(self._tasks[stage], completed=done, total=total, detail=detail)

    @contextmanager
    def loading(self, what: str) -> Iterator[None]:
        """A step around imports that take seconds."""
        self.step(f"load {what}", 0, 1, "")
        yield
        self.step(f"load {what}", 1, 1, "")

    def note(self, text: str) -> None:
        """Print a line on stderr above the bars, terminal or not."""
        self._progress.console.print(printable(text), markup=False, style="dim")
