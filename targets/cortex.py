"""What LLVM may emit for an Arm core, in the words of /proc/cpuinfo."""

from __future__ import annotations

CORTEX_A72_FEATURES = ("asimd",)
CORTEX_A76_FEATURES = ("asimd", "asimddp", "asimdhp", "asimdrdm", "atomics", "fphp", "lrcpc")
CORTEX_A76_SOURCE = (
    "Arm Cortex-A76 TRM: Armv8.2-A with dot product, half precision and RCpc; "
    "flags as in Linux's Documentation/arch/arm64/elf_hwcaps.rst"
)
CORTEX_A78_SOURCE = CORTEX_A76_SOURCE.replace("A76", "A78AE")
