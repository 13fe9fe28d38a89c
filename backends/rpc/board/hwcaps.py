"""The features of an aarch64 processor as Linux tells a process of them.

/proc/cpuinfo prints the same bits by the same names, but under qemu-user it is the host's.
"""

from __future__ import annotations

import ctypes

_AT_HWCAP, _AT_HWCAP2 = 16, 26
# Linux, arch/arm64/include/uapi/asm/hwcap.h, from bit 0 on; names as in /proc/cpuinfo.
_HWCAP = (
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm jscvt fcma "
    "lrcpc dcpop sha3 sm3 sm4 asimddp sha512 sve asimdfhm dit uscat ilrcpc flagm ssbs sb paca pacg"
)
_HWCAP2 = (
    "dcpodp sve2 sveaes svepmull svebitperm svesha3 svesm4 flagm2 frint svei8mm svef32mm svef64mm "
    "svebf16 i8mm bf16 dgh rng bti mte"
)


def local_cpu_features() -> frozenset[str]:
    """Return the features of this aarch64 process's processor, real or emulated."""
    library = ctypes.CDLL(None)
    library.getauxval.restype = ctypes.c_ulong
    library.getauxval.argtypes = (ctypes.c_ulong,)
    return decode_hwcaps(library.getauxval(_AT_HWCAP), library.getauxval(_AT_HWCAP2))


def decode_hwcaps(hwcap: int, hwcap2: int) -> frozenset[str]:
    """Name the bits."""
    return frozenset(
        name
        for names, bits in ((_HWCAP, hwcap), (_HWCAP2, hwcap2))
        for position, name in enumerate(names.split())
        if bits >> position & 1
    )
