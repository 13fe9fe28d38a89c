"""Energy of one operation, from one published table, for boards that nobody has measured."""

from __future__ import annotations

from .board import EnergyModel

_TABLE = "M. Horowitz, Computing's energy problem, ISSCC 2014, figure 1.1.9 (45 nm, 0.9 V)"
_COMPARE = "for comparing variants, not for predicting a meter"

TABLE_SOURCES = {
    "energy.pj_per_mac_fp32": f"{_TABLE}: 3.7 multiply + 0.9 add; {_COMPARE}",
    "energy.pj_per_mac_int8": f"{_TABLE}: 0.2 multiply + 0.1 32-bit add; {_COMPARE}",
    "energy.pj_per_byte_dram": f"{_TABLE}: 1.3 nJ per 8 bytes, the lower end; {_COMPARE}",
}
IDLE_NOT_COUNTED = "not known, so 0: energy is what a call adds to the idle board"


def table_model(idle_w: float) -> EnergyModel:
    """Return the table's energies with a board's idle power."""
    return EnergyModel(
        pj_per_mac_fp32=4.6, pj_per_mac_int8=0.3, pj_per_byte_dram=162.5, idle_w=idle_w
    )
