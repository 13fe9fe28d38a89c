"""kill -9 of the tuner at random moments: the log reads, nothing finished is lost, no orphans.

ADASPRING_KILLS says how often (CONTRIBUTING.md); a run of the tests does it a few times.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psutil

from adaspring.backends.tuning import TuningLog

KILLS = int(os.environ.get("ADASPRING_KILLS", "3"))
MARK = "ADASPRING_KILLED_TUNER"

# Tells of every candidate that is through; the record is in the log by then.
PROGRAM = """
import sys
from pathlib import Path
import torch
from adaspring import targets
from adaspring.backends.build import prepare
from adaspring.backends.tuning import Tuning, TuningLog, tasks_of, tune
from adaspring.frontend.from_torch.importer import from_torch
from torch import nn

torch.manual_seed(0)
network = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU())
board = targets.null()
model = from_torch(network.eval(), (torch.zeros(1, 8, 20, 20),), name="net")
prepared = prepare(model, board)
tasks = tasks_of([prepared.module], prepared.isa)
log = TuningLog(Path(sys.argv[1]))
tell = lambda done, total: print(done, flush=True)
tune(tasks, board, log, Tuning(trials=10**6, round_size=4, patience=10**6), tell)
"""


def marked(mark: str) -> list[psutil.Process]:
    """The processes that were started with this mark, zombies left out."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def gone(mark: str, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while marked(mark):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def kill_at_random(folder: Path, rng: random.Random) -> int:
    """Run the tuner, kill it at some moment of its tuning; how many candidates it told of."""
    mark = uuid.uuid4().hex
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=os.environ | {MARK: mark},
    )  # fmt: skip
    assert child.stdout is not None
    with child.stdout as stdout:
        try:
            told = [stdout.readline() for _ in range(rng.randrange(8))]
            time.sleep(rng.uniform(0.0, 1.0))
        finally:
            child.send_signal(signal.SIGKILL)
        told += stdout.readlines()
    child.wait()
    assert gone(mark, 20), "workers outlived their tuner"
    whole = [line for line in told if line.endswith("\n")]
    return int(whole[-1]) if whole else 0


def test_a_killed_tuner_loses_nothing_that_was_finished_and_leaves_nobody(tmp_path):
    rng = random.Random(1)
    kept = 0
    for _ in range(KILLS):
        told = kill_at_random(tmp_path / "log", rng)
        found = sum(workload.records_count for workload in TuningLog(tmp_path / "log").workloads())
        assert found >= kept + told
        kept = found
    assert kept > 0
