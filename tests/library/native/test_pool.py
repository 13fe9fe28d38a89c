"""One thread pool for the process: what it computes, whom it waits for, what it leaves behind."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import adaspring
from adaspring import targets
from adaspring.errors import LibraryError, RuntimeMissing, UsageError
from adaspring.explore.board.runtime import runtime_files
from adaspring.library.native import build, pool
from adaspring.library.native.ffi import tvm_ffi

from ...support.parallel_library import (
    expected,
    parallel_code,
    sample,
    weight,
    write_parallel_library,
)

CPUS = [0, 0]  # as many as threads: where they are does not matter here

BEGIN = """
import os, signal, sys, threading, time
import numpy as np
import adaspring

def tasks():
    return len(os.listdir("/proc/self/task"))

library = adaspring.load(sys.argv[1])
before = tasks()
net = library.open()
x = np.random.default_rng(0).standard_normal((64, 2048), dtype=np.float32)
right = net(x)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_parallel_library(tmp_path_factory.mktemp("pool") / "parallel.lib")


@pytest.fixture
def library(folder) -> adaspring.Library:
    return adaspring.load(folder)


def run_app(folder: Path, code: str) -> str:
    """What an app prints that has made one call; it ends well within its time and says no more."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + code, folder], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


@pytest.mark.parametrize("threads", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("spin_us", [0, 200])
def test_any_number_of_threads_computes_the_same(library, threads, spin_us):
    net = library.open(threads=threads, spin_us=spin_us)
    for seed in range(20):
        np.testing.assert_allclose(net(sample(seed)), expected(sample(seed)), rtol=0, atol=2e-6)


def test_the_pool_computes_bit_for_bit_what_tvms_does(library, tmp_path):
    copy = shutil.copy(parallel_code(), tmp_path / "tvm.so")
    machine = tvm_ffi.load_module(str(copy))["vm_load_executable"]()
    machine["vm_initialization"](1, 0, 2)
    weights = tvm_ffi.Array([tvm_ffi.from_dlpack(weight())])
    of_tvm = machine["main"](tvm_ffi.from_dlpack(sample()), weights)
    np.testing.assert_array_equal(library.open()(sample()), np.from_dlpack(of_tvm))


def test_an_app_has_the_pools_threads_and_none_of_tvms(folder):
    code = "print(tasks() - before, all((net(x) == right).all() for _ in range(300)))"
    threads = min(2, len(os.sched_getaffinity(0)))
    assert run_app(folder, code) == f"{threads - 1} True"


def test_a_net_of_one_thread_starts_no_other(folder):
    code = "print(tasks() - before)"
    begin = BEGIN.replace("library.open()", "library.open(threads=1)")
    command = [sys.executable, "-c", begin + code, folder]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"


def test_a_hundred_threads_that_call_once_leave_none(folder):
    code = """
wrong = []
for _ in range(100):
    thread = threading.Thread(target=lambda: wrong.append((net(x) != right).any()))
    thread.start()
    thread.join()
print(tasks() - before < 8, any(wrong))
"""
    assert run_app(folder, code) == "True False"


def test_many_threads_that_call_at_once_are_all_right(library):
    nets = [library.open(threads=1 + i % 3) for i in range(6)]
    wrong: list[int] = []

    def call(index: int) -> None:
        for turn in range(100):
            x = sample(100 * index + turn)
            if not np.allclose(nets[index](x), expected(x), rtol=0, atol=2e-6):
                wrong.append(index)

    threads = [threading.Thread(target=call, args=(index,)) for index in range(len(nets))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_first_call_of_a_forked_child_ends_and_is_right(folder):
    code = """
child = os.fork()
if not child:
    signal.alarm(30)
    os._exit(0 if (net(x) == right).all() and tasks() <= 2 else 3)
print(os.waitpid(child, 0)[1], (net(x) == right).all())
"""
    assert run_app(folder, code) == "0 True"


def test_a_fork_while_other_threads_call_load_and_switch_leaves_the_child_whole(folder):
    code = """
nets = [library.open() for _ in range(3)]
def call(net):
    while True:
        net(x)
def load():
    while True:
        library.open()(x)
for index in range(3):
    threading.Thread(target=call, args=(nets[index],), daemon=True).start()
threading.Thread(target=load, daemon=True).start()
found = []
for index in range(30):
    child = os.fork()
    if not child:
        signal.alarm(30)
        both = (nets[index % 3](x) == right).all() and (library.open()(x) == right).all()
        os._exit(0 if both else 3)
    found.append(os.waitpid(child, 0)[1])
print(set(found), flush=True)
os._exit(0)  # an exit while libraries are dropped is not promised
"""
    assert run_app(folder, code) == "{0}"


@pytest.mark.parametrize("count", [1, 4])
def test_the_interpreter_exits_cleanly_while_threads_are_inside_calls(folder, count):
    code = f"""
nets = [library.open() for _ in range({count})]
def call(net):
    while True:
        net(x)
for net in nets:
    threading.Thread(target=call, args=(net,), daemon=True).start()
time.sleep(0.2)
print("out")
"""
    for _ in range(3):
        assert run_app(folder, code) == "out"


def test_the_interpreter_exits_cleanly_while_threads_load_and_open_libraries(folder):
    code = """
kept = []
def open_more():
    while True:
        kept.append(adaspring.load(sys.argv[1]).open())
        kept[-1](x)
for _ in range(3):
    threading.Thread(target=open_more, daemon=True).start()
time.sleep(0.3)
print("out")
"""
    for _ in range(5):
        assert run_app(folder, code) == "out"


def test_a_call_in_an_exit_handler_of_the_app_still_works(folder):
    begin = "import atexit\natexit.register(lambda: print((net(x) == right).all()))\n"
    command = [sys.executable, "-c", begin + BEGIN, folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


def test_code_launches_on_the_pool_and_is_loaded_once(folder):
    code = """
import ctypes, sys
import adaspring
from adaspring.library.native import pool

given, real = [], pool.give_to
pool.give_to = lambda name: (given.append(name), real(name))
nets = [adaspring.load(sys.argv[1]).open() for _ in range(2)]
launch = ctypes.c_void_p.in_dll(ctypes.CDLL(given[0]), "__TVMBackendParallelLaunch").value
ours = ctypes.cast(ctypes.CDLL(str(pool.path())).adaspring_pool_launch, ctypes.c_void_p).value
print(len(given), launch == ours)
"""
    command = [sys.executable, "-c", code, folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("1 True\n", "")


def test_code_that_is_not_loaded_cannot_be_given_the_pool(tmp_path):
    copy = shutil.copy(parallel_code(), tmp_path / "other.so")
    with pytest.raises(LibraryError, match=r"other.so: cannot be given the thread pool"):
        pool.give_to(Path(copy))


@pytest.mark.parametrize("threads", [0, -1, 4097, True, 2.0, "2", np.float32(2)])
def test_a_number_of_threads_out_of_range_is_refused(library, threads):
    with pytest.raises(UsageError, match=r"^threads is .*whole number in \[1, 4096\]$"):
        library.open(threads=threads)


@pytest.mark.parametrize("spin_us", [-1, 1_000_001, float("nan"), None, False, 1.5])
def test_a_time_to_stay_awake_out_of_range_is_refused(library, spin_us):
    with pytest.raises(UsageError, match=r"^spin_us is .*whole number in \[0, 1000000\]$"):
        library.open(spin_us=spin_us)


def test_whole_numbers_of_numpy_are_taken(library):
    net = library.open(threads=np.int64(1), spin_us=np.uint8(5))
    np.testing.assert_allclose(net(sample()), expected(sample()), rtol=0, atol=2e-6)


class Group(ctypes.Structure):
    _fields_ = (("sync_handle", ctypes.c_void_p), ("num_task", ctypes.c_int32))


LAMBDA = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.POINTER(Group), ctypes.c_void_p)


def native() -> ctypes.CDLL:
    return ctypes.CDLL(str(pool.path()))


SHARES = 16


def launch(function, spin_us: int = 100) -> int:
    """Launch a function of (share, group) on four threads, four shares each; the status."""
    pool.use(4, CPUS, pinned=False, spin_us=spin_us)
    return native().adaspring_pool_launch(LAMBDA(lambda i, group, _: function(i, group)), None, 0)


def test_every_share_of_a_launch_is_computed_once():
    for _ in range(200):
        done: list[tuple[int, int]] = []
        assert launch(lambda i, group, done=done: done.append((i, group[0].num_task)) or 0) == 0
        assert sorted(done) == [(i, SHARES) for i in range(SHARES)]


@pytest.mark.parametrize("slow", [0, 6, 15])
def test_a_share_that_takes_long_keeps_nobody_from_the_others(slow):
    for _ in range(20):  # until the workers are awake
        launch(lambda *_: 0, spin_us=100_000)
    others = threading.Semaphore(0)
    waited = []

    def share(index, _group):
        if index == slow:
            waited.extend(others.acquire(timeout=20) for _ in range(SHARES - 1))
        else:
            others.release()
        return 0

    assert launch(share, spin_us=100_000) == 0
    assert waited == [True] * (SHARES - 1)


def test_a_launch_within_a_share_is_computed_there_as_one():
    inner: list[tuple[int, int]] = []
    within = LAMBDA(lambda i, group, _: inner.append((i, group[0].num_task)) or 0)
    assert launch(lambda *_: native().adaspring_pool_launch(within, None, 0)) == 0
    assert inner == [(0, 1)] * SHARES


@pytest.mark.parametrize("failing", [0, 5, 15])
def test_a_share_that_fails_fails_the_launch_with_its_error(failing):
    text = f"share {failing} is wrong".encode()
    ffi = ctypes.CDLL(tvm_ffi.libinfo.find_libtvm_ffi())

    def share(index, _group):
        if index != failing:
            return 0
        ffi.TVMFFIErrorSetRaisedFromCStr(b"ValueError", text)
        return -1

    assert launch(share) == -1
    assert raised_here(ffi) == text


def raised_here(ffi: ctypes.CDLL) -> bytes:
    """The message of the error that this thread raised last; it is taken away."""
    error = ctypes.c_void_p()
    ffi.TVMFFIErrorMoveFromRaised(ctypes.byref(error))
    header_bytes, kind_bytes = 24, 16  # TVMFFIObject, then the kind and the message: data, size
    data, size = (ctypes.c_size_t * 2).from_address(error.value + header_bytes + kind_bytes)
    message = ctypes.string_at(data, size)
    ffi.TVMFFIObjectDecRef(error)
    return message


def test_a_barrier_between_shares_is_refused_and_alone_it_is_none():
    statuses = []

    def share(index, group):
        statuses.append(native().adaspring_pool_barrier(index, group))
        return 0

    launch(share)
    assert statuses == [-1] * SHARES
    statuses.clear()
    pool.use(1, [0], pinned=False, spin_us=0)
    native().adaspring_pool_launch(LAMBDA(lambda i, group, _: share(i, group)), None, 0)
    assert statuses == [0]


def test_without_a_compiled_pool_it_is_compiled_once_into_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = pool.path()
    assert made.name == build.file_name()
    assert made.parent in (build.SOURCE.parent, tmp_path / "adaspring" / "native")
    monkeypatch.setenv("PATH", "")
    assert pool.path() == made


@pytest.fixture
def not_compiled(monkeypatch, tmp_path) -> None:
    """As on a machine that has the package's files, and nothing in its cache."""
    source = shutil.copy(build.SOURCE, tmp_path / "pool.c")
    monkeypatch.setattr(build, "SOURCE", source)
    monkeypatch.setattr(pool, "SOURCE", source)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_without_a_compiler_the_error_says_what_to_install(monkeypatch, not_compiled):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(RuntimeMissing, match=r"no C compiler .*apt install gcc.*wheel"):
        pool.path()


def test_a_compiler_that_fails_is_named_with_what_it_said(monkeypatch, not_compiled, tmp_path):
    broken = tmp_path / "broken-cc"
    broken.write_text("#!/bin/sh\necho 'no such header' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    with pytest.raises(RuntimeMissing, match=r"broken-cc cannot compile .*: no such header; "):
        pool.path()


def test_a_cache_that_cannot_be_written_is_named(monkeypatch, not_compiled, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(RuntimeMissing, match=r"cannot compile the thread pool into .*cache"):
        pool.path()


def test_a_library_brings_the_pool_where_the_package_has_none(tmp_path):
    files = runtime_files(targets.host())
    packed = write_parallel_library(tmp_path / "packed.lib", runtime_paths=files)
    code = """
import os, sys
import adaspring
from adaspring.library.native import pool

pool.prebuilt = lambda: None
pool.path = None  # nothing is compiled
library = adaspring.load(sys.argv[1])
with open("/proc/self/maps") as maps:
    print(pool.is_loaded(), sum(sys.argv[1] in line and "pool-" in line for line in maps) > 0)
library.open()
"""
    environment = {**os.environ, "PATH": ""}
    command = [sys.executable, "-c", code, packed]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert (done.stdout, done.stderr) == ("True True\n", "")
