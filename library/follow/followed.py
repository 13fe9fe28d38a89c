"""What a net has for being followed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast
from weakref import ref

from ...errors import UsageError
from ..context import Context
from ..live.hooks import Call
from ..live.measured import Measured
from ..live.meter import Meter
from ..manifest import Manifest
from ..policies import Decide, Decision

if TYPE_CHECKING:
    from ..executable import Executable
    from ..net import Net
    from ..pieces.variants import LoadedVariants
    from ..sensors.sensors import Source
    from .follower import Follower
    from .steps import Step


class Followed(Measured):
    """The base of a net, which a follower asks before it lets it adapt."""

    _active: Executable
    _decide: Decide
    _load: LoadedVariants

    def __init__(self, manifests: Sequence[Manifest], meter: Meter) -> None:
        super().__init__(meter)
        self._manifests = manifests
        self._follower: Follower | None = None
        self._judge_present: Decide | None = None

    def follow(
        self,
        *,
        every_s: float = 1.0,
        dwell_s: float = 10.0,
        low_memory_bytes: float = 64e6,
        sensors: Source | None = None,
        on_switch: Callable[[Step], object] | None = None,
        on_error: Callable[[BaseException], object] | None = None,
        **own: Any,
    ) -> Follower:
        """Adapt in the background from now on, to what the sensors say; docs/app.md, Following.

        The first step is taken before this returns, and raises what goes wrong in it. Late calls
        (`on_late`) are looked at at once.

        Args:
            every_s: how often to look, in [0.05, 86400]; events are looked at within a second.
            dwell_s: for how long after a move only a broken constraint moves it, in [0, 86400].
            low_memory_bytes: with less available, memory is short: then what the variant in place
                does not need is dropped, as by `drop_unused`. Pressure of 10 % is the same.
            sensors: what is read in place of this machine's; a `Replay` plays a trace.
            on_switch: is called after each move, by the thread that made it.
            on_error: is called with what went wrong in a step; the next is taken all the same.
            own: fields of the context that the app knows itself: values, or functions of none.

        Raises:
            UsageError: a value out of range, no field of a context, or the net is followed already.

        """
        from ..sensors.sensors import of_this_machine
        from .follower import Follower
        from .settings import Settings

        if self._follower is not None and self._follower.running:
            raise UsageError("this net is followed already; close that follower first")
        settings = Settings(
            every_s=every_s,
            dwell_s=dwell_s,
            low_memory_bytes=low_memory_bytes,
            sensors=of_this_machine() if sensors is None else sensors,
            on_switch=on_switch,
            on_error=on_error,
            own=own,
        )
        if self._follower is None:
            self.on_late(_Late(self))
        self._follower = Follower(cast("Net", self), self._manifests, settings)
        return self._follower

    def preview(self, context: Context) -> Decision:
        """Return what the policy would choose in a context; nothing is put in place."""
        with self._switching:
            return self._decide(context, self._active.name)

    def judge(self, context: Context) -> Decision:
        """Return what is to be said of the variant in place in a context, as if it were chosen.

        `relaxed` names the constraints that it breaks.
        """
        from ..shapes.choice import decide_by_shape
        from .present import Present

        with self._switching:
            if self._judge_present is None:
                self._judge_present = decide_by_shape(Present(), self._manifests, self._meter)
            return self._judge_present(context, self._active.name)

    def _drop_if_loadable(self) -> bool:
        """Drop what the variant in place does not need; False where the library is closed."""
        if self._load.can_load:
            self.drop_unused()
        return self._load.can_load

    @abstractmethod
    def drop_unused(self) -> None:
        """Give up every variant but the active one."""

    def _stop_following(self) -> None:
        if self._follower is not None:
            self._follower.close()


class _Late:
    """Tells a net's follower of late calls, and does not keep the net."""

    def __init__(self, net: Followed) -> None:
        self._net = ref(net)

    def __call__(self, call: Call) -> None:
        net = self._net()
        if net is not None and net._follower is not None:
            net._follower.missed_deadline()
