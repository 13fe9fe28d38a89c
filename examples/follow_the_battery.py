"""An app that follows the battery: `python examples/follow_the_battery.py LIBRARY`.

Needs a library for this machine (`adaspring compile`, or `make demo`) and psutil; neither the
compiler nor torch.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import psutil

import adaspring


def context(deadline_ms: float) -> adaspring.Context:
    """What the app sees now: battery (a plugged-in machine counts as full), load, free memory."""
    battery = psutil.sensors_battery()
    full = battery is None or battery.power_plugged
    return adaspring.Context(
        battery_ratio=1.0 if full else battery.percent / 100,
        latency_budget_ms=deadline_ms,
        memory_budget_bytes=psutil.virtual_memory().available // 10,
        load_ratio=psutil.cpu_percent(interval=0.1) / 100,
    )


def main(path: str, seconds: float = 5.0) -> None:
    """Run on random inputs, adapting once a second."""
    library = adaspring.load(path)
    net = library.open()
    inputs = [np.ones(spec.shape, spec.dtype) for spec in library.manifest.inputs]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        switch = net.adapt(context(deadline_ms=5.0))
        calls, until = 0, time.monotonic() + 1.0
        while time.monotonic() < until:
            net(*inputs)
            calls += 1
        print(f"{switch.to_variant}: {calls} calls in a second ({switch.reason})")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
