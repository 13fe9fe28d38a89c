"""A followed net at a fork and at the interpreter's end, in processes of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest

BEGIN = """
import gc, os, signal, sys, threading, time
import numpy as np
import adaspring
from adaspring.library.sensors.readings import Readings

class Machine:
    def read(self):
        return Readings(load_ratio=0.5)

x = np.ones((2, 48), np.float32)
net = adaspring.load(sys.argv[1]).open()
budgets = iter([5500, 20_000] * 1_000_000)
follower = net.follow(sensors=Machine(), every_s=0.05, dwell_s=0,
                      memory_budget_bytes=lambda: next(budgets))
net(x, x)
"""


def run_app(folder, code: str) -> str:
    """What an app prints that follows; it ends well within its time and says no more."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + code, folder], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_the_interpreter_exits_cleanly_while_a_net_is_followed(folder):
    for pause in (0.0, 0.07, 0.3):
        assert run_app(folder, f"time.sleep({pause}); print('out')") == "out"


def test_it_exits_cleanly_while_a_storm_of_events_moves_the_net(folder):
    code = """
def storm():
    while True:
        follower.notify(); follower.missed_deadline()
def call():
    while True:
        net(x, x)
for task in (storm, call):
    threading.Thread(target=task, daemon=True).start()
time.sleep(0.3)
print("out")
"""
    for _ in range(3):
        assert run_app(folder, code) == "out"


def test_a_sensor_that_never_returns_does_not_keep_the_process(folder):
    code = """
Machine.read = lambda self: time.sleep(1000)
time.sleep(0.2)
print("out")
"""
    assert run_app(folder, code) == "out"


def test_nets_that_are_dropped_while_they_are_followed_leave_nothing(folder):
    code = """
library = adaspring.load(sys.argv[1])
for _ in range(30):
    library.open().follow(sensors=Machine(), every_s=0.05)
net.close()
gc.collect()
end = time.monotonic() + 30
while any(t.name == "adaspring-follow" for t in threading.enumerate()):
    assert time.monotonic() < end
    time.sleep(0.01)
print("none")
"""
    assert run_app(folder, code) == "none"


@pytest.mark.parametrize("end", ["os._exit(0)", "sys.exit(0)"])
def test_a_forks_child_is_not_followed_can_close_and_can_follow_anew(folder, end):
    code = f"""
found = []
for index in range(10):
    child = os.fork()
    if not child:
        signal.alarm(30)
        wrong = follower.running or threading.active_count() != 1
        follower.notify()
        if index % 2:
            follower.close()
        net(x, x)
        with net.follow(sensors=Machine(), every_s=0.05, memory_budget_bytes=5500) as anew:
            wrong = wrong or not anew.running or net.variant != "rank4"
        net.close()
        if wrong:
            os._exit(3)
        {end}
    found.append(os.waitpid(child, 0)[1])
print(set(found), follower.running)
"""
    assert run_app(folder, code) == "{0} True"
