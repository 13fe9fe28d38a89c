"""An app that follows battery, load and memory: `python examples/follow_the_battery.py LIBRARY`.

Needs a library for this machine (`adaspring compile`, or `make demo`); neither the compiler nor
torch.
"""

from __future__ import annotations

import sys
import time

import numpy as np

import adaspring


def main(path: str, seconds: float = 5.0) -> None:
    """Run on random inputs while the network follows what the machine says."""
    library = adaspring.load(path)
    inputs = [np.ones(spec.shape, spec.dtype) for spec in library.manifest.inputs]
    with library.open() as net, net.follow(latency_budget_ms=5.0) as follower:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            calls, until = 0, time.monotonic() + 1.0
            while time.monotonic() < until:
                net(*inputs)
                calls += 1
            print(f"{net.variant}: {calls} calls in a second ({follower.last.reason})")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
