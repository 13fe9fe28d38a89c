"""How a net is opened: over one library, or over several."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UsageError
from ..context import Context
from ..live.meter import Meter
from ..manifest import MOST_THREADS
from ..net import Net
from ..pieces.variants import LoadedVariants
from ..policies import Balanced, Policy
from ..runtime import SPIN_US
from ..shapes.choice import decide_by_shape

if TYPE_CHECKING:
    from ..loader import Library


class Openable(ABC):
    """The base of what nets are opened of."""

    @abstractmethod
    def _every_library(self) -> tuple[Library, ...]:
        """The libraries whose variants a net has; the first one's plainest is the net's."""

    def open(
        self,
        variant: str | None = None,
        *,
        context: Context | None = None,
        policy: Policy | None = None,
        preload: bool = True,
        threads: int | None = None,
        spin_us: int = SPIN_US,
        costs: str | Path | None = None,
    ) -> Net:
        """Return a network that is ready to run.

        Args:
            variant: what to start with, a variant or a combination of cells; or give a `context`
                for the policy to choose. The plainest variant where both are left out.
            context: what the app sees now.
            policy: decides in `net.adapt`; Balanced() where left out.
            preload: load every variant now, at every shape, so that a switch only changes a
                reference. False loads a variant when it is first used, and at each shape but the
                first when it is first called so.
            threads: how many threads a call may use; the board's where left out, and at most the
                processors that this process may use. All nets of a process share one pool.
            spin_us: for how many microseconds a thread that waits stays awake, in [0, 1e6].
            costs: the file of `Net.save_costs`, to go on from what was learnt; one that does not
                exist yet, or is of another library or machine, is left alone.

        Raises:
            UsageError: no such variant, both a variant and a context, no policy or context, or a
                number out of range.
            LibraryError: the library was closed, or a variant's code was overwritten in its place.
            CostsError: the file of costs cannot be read, or is damaged.

        """
        if variant is not None and context is not None:
            raise UsageError("give a variant or a context, not both")
        settings = _check_threads(threads, spin_us)
        libraries = self._every_library()
        manifests = [library.manifest for library in libraries]
        digests = [library.digest for library in libraries]
        meter = Meter(manifests, digests, None if costs is None else Path(costs))
        policy = Balanced() if policy is None else policy
        decide = decide_by_shape(policy, manifests, meter)
        first = manifests[0].plainest if variant is None else variant
        if context is not None:
            first = decide(context).variant
        loaded = LoadedVariants(libraries, settings)
        net = Net(manifests, loaded, decide, first, meter)
        if preload:
            loaded.load_all()
        return net


def _check_threads(threads: Any, spin_us: Any) -> tuple[int | None, int]:
    """Return the settings as integers; UsageError where they are not in range."""
    if threads is not None:
        threads = _whole("threads", threads, 1, MOST_THREADS)
    return threads, _whole("spin_us", spin_us, 0, 1_000_000)


def _whole(name: str, value: Any, least: int, most: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or not least <= number <= most:
        raise UsageError(f"{name} is {value!r}; it must be a whole number in [{least}, {most}]")
    return number
