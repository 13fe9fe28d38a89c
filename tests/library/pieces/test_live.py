"""Calls of a combination are held against what its cells take within it."""

from adaspring.library.live.recorded import recorded_costs
from adaspring.library.writer import write_library

from ...support.pieces import LATENCY_MS, NAMES, parts_in_pieces


def test_recorded_cells_add_up_to_what_a_combination_is_predicted_to_take(tmp_path):
    manifest = write_library(tmp_path / "net.lib", parts_in_pieces())
    recorded = recorded_costs(manifest)
    for first, name in enumerate(NAMES):
        for second, other in enumerate(NAMES):
            total = recorded[f"0/{name}"].p90_ms + recorded[f"1/{other}"].p90_ms
            wanted = 1.1 * (LATENCY_MS[0][first] + LATENCY_MS[1][second]) - 0.3
            assert abs(total - wanted) < 1e-9
            cold = recorded[f"0/{name}"].cold_p90_ms + recorded[f"1/{other}"].cold_p90_ms
            assert abs(cold - wanted - 0.5) < 1e-9
