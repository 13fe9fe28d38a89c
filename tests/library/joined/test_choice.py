"""How policies choose among several libraries: tails apart, unknown figures, shapes."""

from __future__ import annotations

import msgspec
import numpy as np

from adaspring import targets
from adaspring.library.context import Context
from adaspring.library.joined.names import board_of, own_name, with_board
from adaspring.library.joined.spaces import joined_spaces
from adaspring.library.manifest import Manifest, Signature, board_record
from adaspring.library.policies import Balanced, Budget
from adaspring.library.shapes.choice import decide_by_shape

from ...support.libraries import cost
from ...support.variants import manifest, variant


def on(board: str, *variants) -> Manifest:
    """A library of these variants for a board of this name."""
    record = msgspec.structs.replace(board_record(targets.null()), name=board)
    return with_board(msgspec.structs.replace(manifest(variants), board=record))


CPU = on("cpu", variant("dense", 0.98, 10, 9000, 50), variant("small", 0.90, 2, 5000, 8))


def test_a_name_says_board_and_variant():
    assert [each.name for each in CPU.variants] == ["cpu:dense", "cpu:small"]
    assert CPU.plainest == "cpu:dense"
    assert (board_of("cpu:dense"), own_name("cpu:dense")) == ("cpu", "dense")
    assert (board_of("dense"), own_name("dense")) == ("", "dense")


def test_a_board_without_an_energy_model_is_taken_to_need_as_much_as_the_worst():
    cpu = on("cpu", variant("dense", 0.98, 10, None, 50), variant("half", 0.97, 8, None, 20))
    decide = decide_by_shape(Balanced(), (cpu, on("gpu", variant("dense", 0.98, 3))))
    assert decide(Context(latency_budget_ms=9)).variant == "gpu:dense"
    assert decide(Context(latency_budget_ms=9)).predicted.energy_mj is None
    assert decide(Context(latency_budget_ms=9, battery_ratio=0.1)).variant == "cpu:half"


def test_an_unknown_energy_meets_no_budget():
    decide = decide_by_shape(Budget(), (CPU, on("gpu", variant("dense", 0.98, 3, 9000, None))))
    tight = Context(
        latency_budget_ms=5, energy_left_mj=1e3, time_left_s=10, calls_per_s=10, battery_ratio=0.5
    )
    assert decide(tight).variant == "cpu:small"


def test_where_no_board_models_energy_it_is_not_asked_for():
    decide = decide_by_shape(
        Balanced(),
        (on("cpu", variant("dense", 0.98, 10)), on("gpu", variant("dense", 0.98, 3))),
    )
    decision = decide(Context(battery_ratio=0.1, latency_budget_ms=5))
    assert (decision.variant, decision.predicted.energy_mj) == ("gpu:dense", None)


def test_tails_are_those_of_each_library():
    """p90 / p50 is 1.1 on the processor, 2 on the GPU, whatever there is more of."""

    def timed(name: str, p50: float, p90: float):
        known = cost(latency_p50_ms=p50, latency_p90_ms=p90)
        return msgspec.structs.replace(variant(name), cost=known)

    cpu = on("cpu", *(timed(name, ms, 1.1 * ms) for name, ms in (("a", 8), ("b", 4), ("c", 2))))
    (space,) = joined_spaces((cpu, on("gpu", timed("a", 3, 6))), 0).each
    (segment,) = space.segments
    assert segment.names == ("cpu:a", "cpu:b", "cpu:c", "gpu:a")
    np.testing.assert_allclose(segment.latency_ms, [8.8, 4.4, 2.2, 6.0])


def test_each_shape_is_decided_by_what_it_costs_on_either_board():
    def two_shapes(made: Manifest, *latencies_ms: float) -> Manifest:
        further = Signature(
            inputs=tuple(msgspec.structs.replace(s, shape=(8, 48)) for s in made.inputs),
            outputs=made.outputs,
        )
        variants = tuple(
            msgspec.structs.replace(
                each,
                further_shapes=(
                    msgspec.structs.replace(each, cost=cost(metric=0.98, latency_p90_ms=ms)),
                ),
            )
            for each, ms in zip(made.variants, latencies_ms, strict=True)
        )
        return msgspec.structs.replace(made, variants=variants, further_shapes=(further,))

    cpu = two_shapes(on("cpu", variant("dense", 0.98, 2)), 20)
    gpu = two_shapes(on("gpu", variant("dense", 0.98, 5)), 6)
    decide = decide_by_shape(Balanced(), (cpu, gpu))
    small, large = (Context(latency_budget_ms=8, shapes={"image": (n, 48)}) for n in (2, 8))
    assert decide(small, "cpu:dense").variant == "cpu:dense"
    assert decide(large, "cpu:dense").variant == "gpu:dense"
