"""Where a tuning record comes from, as a text that its TVM target carries along."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version

CODE = 2
"""What generates code, by number: one more where a schedule runs at another speed than before.

2: sums in registers, rounding on vectors (`codegen/in_registers.py`, `codegen/elementary.py`).
"""

_UNKNOWN = "unknown"
_TAG = re.compile(
    r"adaspring tvm=(?P<tvm_version>\S+) (?:code=(?P<code>\d+) )?board=(?P<board>\S+) "
    r"emulated=(?P<emulated>yes|no) seed=(?P<seed>\d+) tuner=(?P<tuner>\S+) when=(?P<when>\S+)"
)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Which compiler, board and search a record is of; `when` is the start of that search, UTC.

    `emulated`: the board ran in an emulator, so its times say nothing. `code`: see `CODE`.
    """

    tvm_version: str
    board: str
    emulated: bool
    seed: int
    tuner: str
    when: str
    code: int = CODE

    @classmethod
    def now(cls, board: str, *, emulated: bool = False, seed: int = 0) -> Origin:
        """The origin of records that are measured from now on by the TVM that is installed."""
        return cls(
            tvm_version=tvm_version(),
            board=board,
            emulated=emulated,
            seed=seed,
            tuner=_UNKNOWN,
            when=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )

    def by(self, tuner: str) -> Origin:
        """The same, for what `tuner` proposed."""
        return replace(self, tuner=tuner)

    def tag(self) -> str:
        """The origin as one line of text."""
        emulated = "yes" if self.emulated else "no"
        return (
            f"adaspring tvm={self.tvm_version} code={self.code} board={self.board} "
            f"emulated={emulated} seed={self.seed} tuner={self.tuner} when={self.when}"
        )

    @staticmethod
    def from_tag(tag: str) -> Origin | None:
        """Read a tag; None where it is another's, or of a version that says other things."""
        found = _TAG.fullmatch(tag)
        if found is None:
            return None
        values = found.groupdict()
        return Origin(
            tvm_version=values["tvm_version"],
            board=values["board"],
            emulated=values["emulated"] == "yes",
            seed=int(values["seed"]),
            tuner=values["tuner"],
            when=values["when"],
            code=int(values["code"] or 1),
        )


def is_current(origin: Origin | None) -> bool:
    """Whether times of that origin are those of the code that is generated now."""
    return origin is not None and origin.code == CODE


def rank_of(origin: Origin | None, best_s: float) -> tuple[bool, float]:
    """By what one record is preferred to another: times of older code tell less of it now."""
    return not is_current(origin), best_s


def tvm_version() -> str:
    """The version of the TVM that is installed."""
    return version("apache-tvm")
