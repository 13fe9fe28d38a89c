"""From the flags of /proc/cpuinfo to LLVM's name of what an x86-64 machine can do.

LLVM's names of chips promise features that a virtual machine may hide, so a chip is never guessed
from its model number: the target is the highest psABI level whose flags are all there, plus each
vector extension whose flag is there.
"""

from __future__ import annotations

from collections.abc import Set

# System V psABI for x86-64, section 3.1.1; Linux's spelling of the flags. Highest level last.
_V2 = ("cx16", "lahf_lm", "pni", "popcnt", "sse4_1", "sse4_2", "ssse3")
_V3 = (*_V2, "abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave")
_V4 = (*_V3, "avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl")
LEVELS: dict[str, tuple[str, ...]] = {
    "x86-64": (),
    "x86-64-v2": _V2,
    "x86-64-v3": _V3,
    "x86-64-v4": _V4,
}

# flag of /proc/cpuinfo → LLVM's attribute, and the level below which LLVM may not use it
_EXTENSIONS = (
    ("avx_vnni", "avxvnni", "x86-64-v3"),
    ("avx512_vnni", "avx512vnni", "x86-64-v4"),
    ("avx512_bf16", "avx512bf16", "x86-64-v4"),
    ("avx512_fp16", "avx512fp16", "x86-64-v4"),
    ("avx512vbmi", "avx512vbmi", "x86-64-v4"),
    ("avx512_vbmi2", "avx512vbmi2", "x86-64-v4"),
)


def llvm_cpu(flags: Set[str]) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Return LLVM's `mcpu`, its `mattr`, and the flags that both together rely on."""
    mcpu = max((level for level, needs in LEVELS.items() if flags >= set(needs)), key=_rank)
    used = [e for e in _EXTENSIONS if e[0] in flags and _rank(mcpu) >= _rank(e[2])]
    mattr = tuple(f"+{attribute}" for _, attribute, _ in used)
    return mcpu, mattr, tuple(sorted((*LEVELS[mcpu], *(flag for flag, _, _ in used))))


def _rank(level: str) -> int:
    return list(LEVELS).index(level)
