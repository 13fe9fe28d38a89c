"""The files of /proc and /sys that a machine would show, and clocks that tests set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SUPPLY = "sys/class/power_supply"
GROUPS = "sys/fs/cgroup"
CPU = "sys/devices/system/cpu"


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


@dataclass
class FakeMachine:
    """Writes such files below a folder."""

    root: Path

    def write(self, path: str, content: str | bytes | int) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        data = content if isinstance(content, bytes) else f"{content}\n".encode()
        file.write_bytes(data)
        return file

    def supply(self, name: str, **files: str | bytes | int) -> Path:
        """A folder of /sys/class/power_supply."""
        for file, content in files.items():
            self.write(f"{SUPPLY}/{name}/{file}", content)
        return self.root / SUPPLY / name

    def battery(self, name: str = "BAT0", **files: str | bytes | int) -> Path:
        return self.supply(name, **{"type": "Battery", "status": "Discharging", **files})

    def meminfo(self, available_kib: int, total_kib: int = 1_000_000) -> None:
        text = f"MemTotal:  {total_kib} kB\nMemFree:  5 kB\nMemAvailable:  {available_kib} kB"
        self.write("proc/meminfo", text)

    def group(self, path: str, **files: str | int) -> None:
        """Files of a control group; `__` in a name stands for a dot."""
        for name, content in files.items():
            self.write(f"{GROUPS}/{path}/{name.replace('__', '.')}", content)

    def stat(self, *cpus: tuple[int, int], running: int = 1, steal: int = 0) -> None:
        """Busy and idle hundredths of a second of each processor, stolen ones besides."""
        lines = [
            f"cpu{number} {busy} 0 0 {idle} 0 0 0 {steal} 0 0"
            for number, (busy, idle) in enumerate(cpus)
        ]
        self.write("proc/stat", "\n".join([*lines, "intr 1 2 3", f"procs_running {running}"]))

    def clock(self, cpu: int, **files: str | int) -> None:
        """Files of a processor's cpufreq."""
        for name, content in files.items():
            self.write(f"{CPU}/cpu{cpu}/cpufreq/{name}", content)
