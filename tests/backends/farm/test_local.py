"""A farm of this machine: what goes wrong in one call costs that call, and nothing is left over."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import CancelledError
from functools import partial
from pathlib import Path

import pytest
from pebble.pool.process import PoolManager

from adaspring.backends.farm import JobLost, local_farm
from adaspring.errors import BuildError

from ...support.waiting import eventually

TIMEOUT_S = 30.0
MEMORY_BYTES = 512 << 20


@pytest.fixture(scope="module")
def farm():
    with local_farm(2, timeout_s=TIMEOUT_S, memory_bytes=MEMORY_BYTES) as made:
        yield made


def alive(pid: int) -> bool:
    """Whether a process runs or is stopped; a zombie has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


def workers_of(parent: int) -> list[int]:
    """The processes that a process started to work for it, as the kernel lists them."""
    found = []
    for task in Path(f"/proc/{parent}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found += [int(pid) for pid in (task / "children").read_text().split()]
    return [pid for pid in found if b"spawn_main" in command_of(pid)]


def command_of(pid: int) -> bytes:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def test_results_come_back_in_the_order_of_the_calls(farm):
    assert list(farm.map(pow, range(20), [2] * 20)) == [n * n for n in range(20)]


def test_a_worker_serves_many_calls_and_none_runs_in_this_process(farm):
    pids = {farm.submit(os.getpid).result() for _ in range(12)}
    assert os.getpid() not in pids
    assert len(pids) <= 2


def test_an_exception_comes_out_as_it_was_raised(farm):
    with pytest.raises(ValueError, match=r"invalid literal for int.*'seven'") as caught:
        farm.submit(int, "seven").result()
    assert "in a worker" in caught.value.__notes__[0]


def test_an_exception_that_cannot_be_sent_keeps_its_name_and_text(farm):
    code = """
class Odd(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")
raise Odd("one", "two")
"""
    with pytest.raises(RuntimeError, match="Odd: one and two"):
        farm.submit(exec, code).result()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os; os.abort()", "crashed with SIGABRT"),
        ("import ctypes; ctypes.string_at(0)", "crashed with SIGSEGV"),
        ("import os; os._exit(3)", "crashed with exit status 3"),
        ("import os; os.kill(os.getpid(), 9)", "killed from outside"),
        ("import os; os.write(2, b'tile (4, 8)\\n'); os.abort()", r"SIGABRT: tile \(4, 8\)"),
        ("bytearray(1 << 33)", "out of memory.*512 MB allowed"),
        # what C++ raises and nobody catches, and what LLVM says
        ("import os; os.write(2, b'what(): std::bad_alloc\\n'); os.abort()", "out of memory"),
        ("raise RuntimeError('std::bad_alloc')", "out of memory"),
    ],
)
def test_what_ends_a_worker_costs_one_call(farm, code, words):
    before = [farm.submit(pow, n, 2) for n in range(4)]
    lost = farm.submit(exec, code)
    after = [farm.submit(pow, n, 2) for n in range(4, 8)]
    with pytest.raises(JobLost, match=words):
        lost.result(timeout=60)
    assert [f.result(timeout=60) for f in (*before, *after)] == [n * n for n in range(8)]
    assert issubclass(JobLost, BuildError)


def test_a_call_that_hangs_costs_one_call_and_its_worker():
    with local_farm(2, timeout_s=2) as farm:
        stuck = farm.submit(exec, "import os, time; print(os.getpid(), flush=True); time.sleep(99)")
        others = [farm.submit(pow, n, 2) for n in range(8)]
        with pytest.raises(JobLost, match="hung: timed out after 2 s"):
            stuck.result(timeout=60)
        assert [f.result(timeout=60) for f in others] == [n * n for n in range(8)]


def test_a_worker_that_is_killed_between_two_calls_is_replaced(farm):
    pid = farm.submit(os.getpid).result()
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: not alive(pid))
    assert [f.result(timeout=60) for f in [farm.submit(pow, n, 2) for n in range(6)]] == [
        n * n for n in range(6)
    ]


def test_calls_that_a_pool_forgets_as_it_breaks_are_done(monkeypatch):
    """It breaks on finding a worker dead, and drops what it had not looked at."""

    def slowly(self, task):
        time.sleep(0.5)
        schedule(self, task)

    with local_farm(2, timeout_s=TIMEOUT_S) as farm:
        pid = farm.submit(os.getpid).result(timeout=60)
        schedule = PoolManager.schedule
        monkeypatch.setattr(PoolManager, "schedule", slowly)
        os.kill(pid, signal.SIGKILL)
        calls = [farm.submit(pow, n, 2) for n in range(3)]
        assert [call.result(timeout=30) for call in calls] == [0, 1, 4]


def test_workers_that_do_not_start_are_an_error_not_a_wait():
    with (
        local_farm(1, initializer=partial(int, "x"), timeout_s=5) as farm,
        pytest.raises(JobLost, match="the workers do not start: ValueError: invalid literal"),
    ):
        farm.submit(pow, 2, 2).result(timeout=60)


def test_the_initializer_runs_once_in_each_worker():
    ready = partial(exec, "import os; os.environ['ADASPRING_READY'] = 'yes'")
    with local_farm(1, initializer=ready, timeout_s=5) as farm:
        assert farm.submit(os.getenv, "ADASPRING_READY").result(timeout=60) == "yes"
    assert "ADASPRING_READY" not in os.environ


def test_cancelling_ends_a_call_that_runs(farm, tmp_path):
    begun = tmp_path / "begun"
    code = f"import time; open({str(begun)!r}, 'w').close(); time.sleep(25)"
    call = farm.submit(exec, code)
    assert eventually(begun.exists)
    assert call.cancel()
    with pytest.raises(CancelledError):
        call.result(timeout=10)
    assert farm.submit(pow, 2, 2).result(timeout=60) == 4


def test_a_pause_holds_every_worker_still_and_ends_with_its_block(farm, tmp_path):
    paths = [tmp_path / "a", tmp_path / "b"]
    calls = [farm.submit(exec, counting(path, seconds=8)) for path in paths]
    assert eventually(lambda: all(path.exists() and path.stat().st_size for path in paths))
    with contextlib.suppress(ZeroDivisionError), farm.pause():
        time.sleep(0.1)  # a stop is not instant
        held = [path.stat().st_size for path in paths]
        time.sleep(0.5)
        assert [path.stat().st_size for path in paths] == held
        raise ZeroDivisionError
    assert eventually(
        lambda: all(p.stat().st_size > size for p, size in zip(paths, held, strict=True))
    )
    for call in calls:
        call.cancel()


def counting(path: Path, seconds: float) -> str:
    """A call that makes a file longer all the time."""
    return f"""
import time
end = time.monotonic() + {seconds}
with open({str(path)!r}, "ab", buffering=0) as file:
    while time.monotonic() < end:
        file.write(b".")
        time.sleep(0.005)
"""


def test_a_long_pause_does_not_count_as_a_hang(tmp_path):
    begun = tmp_path / "begun"
    code = f"import time; open({str(begun)!r}, 'w').close(); time.sleep(0.5)"
    with local_farm(1, timeout_s=2) as farm:
        call = farm.submit(exec, code)
        assert eventually(begun.exists)
        with farm.pause():
            time.sleep(3)
        assert call.result(timeout=60) is None


def test_closing_is_quick_and_leaves_neither_processes_nor_files(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    farm = local_farm(2, timeout_s=TIMEOUT_S)
    pids = {farm.submit(os.getpid).result() for _ in range(8)}
    farm.submit(exec, "import tempfile; tempfile.mkdtemp()").result()
    assert list(tmp_path.iterdir())
    calls = [farm.submit(time.sleep, 25) for _ in range(4)]
    calls += [farm.submit(len, b"x" * (1 << 20)) for _ in range(20)]
    farm.close()
    assert all(call.cancelled() for call in calls)
    assert not any(map(alive, pids))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RuntimeError, match="the farm is closed"):
        farm.submit(pow, 2, 2)


def test_leaving_the_block_waits_for_what_was_submitted():
    with local_farm(2, timeout_s=TIMEOUT_S) as farm:
        calls = [farm.submit(pow, n, 2) for n in range(10)]
    assert [call.result(timeout=0) for call in calls] == [n * n for n in range(10)]


# No `if __name__ == "__main__"`: a worker must not run it again.
SCRIPT = """
import sys, time
from adaspring.backends.farm import local_farm
print("script", flush=True)
farm = local_farm(2, timeout_s=60)
for path in sys.argv[1:]:
    farm.submit(exec, f"open({path!r}, 'w').close(); import time; time.sleep(60)")
time.sleep(60)
"""


@pytest.fixture
def running(tmp_path):
    """A program that keeps two workers busy, and the workers."""
    script, begun = tmp_path / "script.py", [tmp_path / "1", tmp_path / "2"]
    script.write_text(SCRIPT)
    with subprocess.Popen(
        [sys.executable, str(script), *map(str, begun)],
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    ) as program:  # fmt: skip
        try:
            assert eventually(lambda: all(path.exists() for path in begun))
            workers = workers_of(program.pid)
            assert len(workers) == 2
            yield program, workers
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)


def test_killing_the_program_ends_its_workers_even_stopped_ones(running):
    program, workers = running
    os.kill(workers[0], signal.SIGSTOP)
    program.kill()
    assert eventually(lambda: not any(map(alive, workers)), seconds=10)
    assert program.stdout.read() == "script\n"


def test_workers_leave_ctrl_c_to_the_program(running):
    program, workers = running
    for pid in workers:
        os.kill(pid, signal.SIGINT)
    time.sleep(0.5)
    assert all(map(alive, workers))
    assert program.poll() is None


def test_a_farm_outlives_the_thread_that_made_it():
    import threading

    made = []
    thread = threading.Thread(target=lambda: made.append(local_farm(1, timeout_s=TIMEOUT_S)))
    thread.start()
    thread.join()
    with made[0] as farm:
        pid = farm.submit(os.getpid).result(timeout=60)
        time.sleep(0.3)
        assert farm.submit(os.getpid).result(timeout=60) == pid
