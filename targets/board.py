"""A board: what a target is, as frozen data. Every figure has a source, no behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

Architecture = Literal["x86_64", "aarch64"]
Device = Literal["cpu", "opencl", "cuda"]
PositiveInt = Annotated[int, Meta(ge=1, le=2**53)]
Positive = Annotated[float, Meta(gt=0, le=1e12)]  # what is infinite is no figure


class EnergyModel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Energy of one operation or one byte, and the power that the board draws when idle."""

    pj_per_mac_fp32: Positive
    pj_per_mac_int8: Positive
    pj_per_byte_dram: Positive
    idle_w: Annotated[float, Meta(ge=0, le=1e6)]


class Affinity(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """On which processors a board's threads compute.

    `cpus` are their numbers, as Linux counts them; empty: all of the fastest kind, as far as the
    process may use them. `pinned`: one thread to one processor, in the order of `cpus`, the calling
    thread on the first; else the threads roam over all of them.
    """

    cpus: tuple[Annotated[int, Meta(ge=0, le=1023)], ...] = ()
    pinned: bool = False


class Board(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A machine that compiled networks run on.

    `target` is the dict that `tvm.target.Target` takes, host included. `core_count` is the number
    of threads in tuning, measuring and the app alike. `cpu_features` are the flags of
    /proc/cpuinfo that code compiled for `target` may use beyond its architecture's baseline.
    `affinity` says on which processors the threads compute.
    `sources` says for each figure (by field name; `energy.FIELD` within the energy model) where
    it comes from.
    """

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=80)]
    description: str
    target: Mapping[str, Any]
    device: Device
    architecture: Architecture
    core_count: PositiveInt
    memory_bytes: PositiveInt
    l1_cache_bytes: PositiveInt
    l2_cache_bytes: PositiveInt
    cpu_features: tuple[str, ...] = ()
    affinity: Affinity = Affinity()
    energy: EnergyModel | None = None
    rpc_key: str
    sources: Mapping[str, str]
