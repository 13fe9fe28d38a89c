"""What a pass is, and the decision that every pass shares: a layer left alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from tvm import relax

from ..errors import PassError

if TYPE_CHECKING:
    from ..frontend.data import Dataset
    from ..ir.layers import Layer
    from ..ir.model import Model
    from ..metrics import Metric


LayerTimer = Callable[[Sequence["Model"]], Sequence[float]]
"""Times small networks of the same input in turn: the median milliseconds of a call of each."""


class Decision(Protocol):
    """What a pass means to do with one layer. A frozen value; printing it costs nothing."""

    @property
    def layer(self) -> str:
        """The layer's name, as in the source network."""

    def describe(self) -> str:
        """One line for people."""


D = TypeVar("D", bound=Decision)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A layer left alone, and why."""

    layer: str
    why: str

    def describe(self) -> str:
        """One line for people."""
        return f"{self.layer}: kept, {self.why}"


def by_call(found: Iterable[Layer], decisions: Sequence[D]) -> dict[relax.Var, D]:
    """Give each layer's call its decision.

    Layers that share a weight share a name: each takes its own of the decisions, in order.

    Raises:
        PassError: a decision is on a layer that is not there.

    """
    waiting: dict[str, list[D]] = {}
    for decision in decisions:
        waiting.setdefault(decision.layer, []).append(decision)
    paired = {layer.call: waiting[layer.name].pop(0) for layer in found if waiting.get(layer.name)}
    left = [name for name, rest in waiting.items() if rest]
    if left:
        raise PassError(f"the decision on {min(left)} was made for another network")
    return paired


def changed_settings(settings: Any) -> str:
    """Print a pass with the settings that differ from the defaults: Prune(keep_ratio=0.5)."""
    shown = []
    for each in fields(settings):
        default = each.default if each.default_factory is MISSING else each.default_factory()
        value = getattr(settings, each.name)
        if value != default:
            shown.append(f"{each.name}={value!r}")
    return f"{type(settings).__name__}({', '.join(shown)})"


class Pass(Protocol):
    """Frozen settings with two pure functions: `plan` decides, `apply` rewrites.

    What others must know of a pass is declared here, and a pass says where it differs:
    `rounds_weights`: layers are quantized or in 16 bits afterwards, so nothing may follow it;
    `trains_under_rounding`: a network can be trained under its decisions before they are applied.
    """

    rounds_weights: ClassVar[bool] = False
    trains_under_rounding: ClassVar[bool] = False

    @property
    def needs_data(self) -> bool:
        """Whether `plan` is impossible without calibration data."""
        return False

    @property
    def needs_instruction(self) -> str | None:
        """The type that a board must multiply by an instruction for the pass to gain anything."""
        return None

    def with_layer_timer(self, timer: LayerTimer) -> Pass:
        """The same settings, deciding by the times of single layers, where the pass can."""
        return self

    def with_metric(self, metric: Metric) -> Pass:
        """The same settings, judged by this metric, where the pass looks at one."""
        return self

    def plan(self, model: Model, calibration: Dataset | None) -> tuple[Decision, ...]:
        """One decision for every layer (or group of coupled layers)."""

    def apply(self, model: Model, decisions: Sequence[Decision]) -> Model:
        """Return the network with the decisions carried out; `model` is untouched."""
