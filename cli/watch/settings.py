"""What the page's controls say: a policy, a context, whether sensors say what that leaves out.

They come from outside, as JSON, and are refused where they are not what they should be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ...errors import UsageError
from ...library.context import Context
from ...library.policies import Balanced, Budget, Deadline, Decide, Decision, LambdaRule, Policy
from ...library.sensors.context import check_names

POLICIES: Mapping[str, Policy] = {
    "Balanced": Balanced(),
    "Deadline": Deadline(),
    "Budget": Budget(),
    "LambdaRule": LambdaRule(),
}
FIELDS = (
    "battery_ratio",
    "latency_budget_ms",
    "memory_budget_bytes",
    "metric_floor",
    "load_ratio",
    "calls_per_s",
    "energy_left_mj",
    "time_left_s",
)


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the controls say. `context` has fields of a Context by name; None: not given."""

    policy: str = "Balanced"
    follow: bool = False
    context: dict[str, float | None] = {}

    def given(self) -> dict[str, Any]:
        """Return the fields that have a value."""
        return {name: value for name, value in self.context.items() if value is not None}


def read_settings(body: bytes, policies: tuple[str, ...]) -> Settings:
    """Read settings from JSON; UsageError says what is wrong with them."""
    try:
        found = msgspec.json.decode(body, type=Settings)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"the settings cannot be read: {error}") from error
    if found.policy not in policies:
        raise UsageError(f"no policy {found.policy!r} here; there are {', '.join(policies)}")
    check_names(found.context, FIELDS)
    Context(**found.given())
    return found


class ChosenPolicy:
    """A policy that decides as the one of POLICIES does whose name is set.

    So one net, with what it has learnt of its costs, serves all of them.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def prepare(self, spaces: Any) -> Decide:
        """Read the costs once for each policy, when it is first asked."""
        prepared: dict[str, Decide] = {}

        def decide(context: Context, current: str | None = None) -> Decision:
            name = self.name
            if name not in prepared:
                prepared[name] = POLICIES[name].prepare(spaces)
            return prepared[name](context, current)

        return decide
