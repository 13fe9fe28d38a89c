"""The functions of a log, found by their structure, and what was lost of them."""

from __future__ import annotations

import tvm_ffi
from tvm import IRModule

from .lines import LostLine, WorkloadLine
from .origin import Origin
from .records import Loss, Workload


class Index:
    """What several folders hold, as if it were one log."""

    def __init__(self) -> None:
        self.workloads: list[Workload] = []
        self._by_hash: dict[str, list[Workload]] = {}
        self._losses: dict[str, list[Loss]] = {}

    def find(self, module: IRModule) -> Workload | None:
        """The function that `module` is, or None."""
        known = self._by_hash.get(hash_of(module), ())
        return next((workload for workload in known if workload.holds(module)), None)

    def take_workload(self, line: WorkloadLine, where: str) -> Workload:
        """The function of a line; the one known already, where another folder has it."""
        new = Workload(line.hash, line.module, where)
        same_hash = self._by_hash.setdefault(line.hash, [])
        for known in same_hash:
            if known.text == new.text or known.holds(new.module):
                return known
        same_hash.append(new)
        self.workloads.append(new)
        return new

    def losses(self, workload_hash: str) -> tuple[Loss, ...]:
        """What was lost of functions with that hash."""
        return tuple(self._losses.get(workload_hash, ()))

    def take_loss(self, line: LostLine) -> None:
        """Keep what a line says was lost."""
        loss = Loss(line.trace, line.reason, Origin.from_tag(line.tag))
        self._losses.setdefault(line.workload, []).append(loss)


def hash_of(module: IRModule) -> str:
    """The structural hash, as MetaSchedule writes it."""
    return str(tvm_ffi.structural_hash(module))
