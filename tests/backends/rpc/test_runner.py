"""Timing candidates on boards over RPC: this machine serves as the boards, over loopback."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from tvm.script import tirx as T

from adaspring import targets
from adaspring.backends.rpc.host import runner as runner_module
from adaspring.backends.rpc.host.client import find_boards
from adaspring.backends.rpc.host.runner import RpcRunner
from adaspring.backends.rpc.protocol import Address
from adaspring.backends.tuning.runner import CandidateLost
from adaspring.errors import BoardError, BoardLost

from ...support import rpc
from ...support.rpc_code import calling, link
from ...support.waiting import wait_until

pytestmark = pytest.mark.board

HOST = targets.host()
ARGUMENTS = [((16,), "float32"), ((16,), "float32")]
SLEEP_US = 20_000


def crashing_once(folder: Path) -> Path:
    """A candidate that aborts when it takes a marker away, and works when there is none."""
    marker, gone = folder / "marker", str(folder / "gone")
    marker.touch()
    taken = str(marker)

    @T.prim_func
    def main(a: T.Buffer((16,), "float32"), b: T.Buffer((16,), "float32")):
        T.func_attr({"global_symbol": "main"})
        if T.call_extern("int32", "rename", taken, gone) == 0:
            T.evaluate(T.call_extern("int32", "abort"))
        for i in range(16):
            b[i] = a[i] * T.float32(2)

    return link(folder, "crash-once", main)


@pytest.fixture(scope="module")
def sleeper(tmp_path_factory) -> Path:
    return calling(tmp_path_factory.mktemp("code"), "sleep", "usleep", SLEEP_US)


@contextmanager
def running(where: str, **options: float) -> Iterator[RpcRunner]:
    runner = rpc.connect(where, HOST, **options)
    try:
        yield runner
    finally:
        runner.close()


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """Our side's processes, which hold sessions, end with their runner."""
    yield
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):  # a killed board is a zombie for a while
            assert "adaspring.backends.rpc.host.session_worker" not in child.cmdline()


@pytest.fixture(scope="module")
def where() -> Iterator[str]:
    with rpc.tracker() as address:
        yield address


def free(where: str) -> int:
    return rpc.summary(where)["queue_info"].get("host", {"free": 0})["free"]


def test_seconds_are_those_of_one_call(where, sleeper):
    with rpc.board(where), running(where) as runner:
        seconds = runner.submit(sleeper, ARGUMENTS).result(60)
        assert len(seconds) == 3
        assert all(1e-6 * SLEEP_US <= second < 10 for second in seconds)
        assert (runner.width, runner.emulated, runner.key) == (1, False, "host")


def test_a_board_is_free_again_when_nothing_is_left_to_time(where, sleeper):
    with rpc.board(where), running(where) as runner:
        runner.submit(sleeper, ARGUMENTS).result(60)
        wait_until(lambda: free(where) == 1)
        assert len(runner.submit(sleeper, ARGUMENTS).result(60)) == 3


def test_two_boards_share_the_work_and_one_that_joins_is_used(where, sleeper, monkeypatch):
    served = []
    original = runner_module.SessionProcess.open

    def note(self, lease, *limits):
        served.append(lease.board)
        return original(self, lease, *limits)

    monkeypatch.setattr(runner_module.SessionProcess, "open", note)
    with rpc.board(where) as one, running(where) as runner:
        futures = [runner.submit(sleeper, ARGUMENTS) for _ in range(4)]
        futures[0].result(60)

        def all_served() -> bool:
            futures.append(runner.submit(sleeper, ARGUMENTS))
            return {str(address) for address in served} == {one.address, two.address}

        with rpc.board(where) as two:
            wait_until(all_served)
            assert all(len(future.result(60)) == 3 for future in futures)


def test_a_candidate_of_a_killed_board_is_timed_on_the_other(where, tmp_path):
    begun = tmp_path / "begun"
    slow = calling(tmp_path, "slow", "usleep", 150_000)
    marking = calling(tmp_path, "marking", "creat", str(begun), 0o644)
    with rpc.board(where) as one, rpc.board(where), running(where) as runner:
        futures = [runner.submit(code, ARGUMENTS) for code in (marking, *[slow] * 3)]
        wait_until(begun.exists)
        one.process.kill()
        assert all(len(future.result(60)) == 3 for future in futures)
        wait_until(lambda: free(where) == 1)


def test_a_killed_board_is_waited_for_and_its_candidate_is_not_lost(where, tmp_path, caplog):
    begun = tmp_path / "begun"
    runner_board = rpc.ready(rpc.start_board(where))
    code = calling(tmp_path, "marking-and-slow", "creat", str(begun), 0o644)
    slow = calling(tmp_path, "slow", "usleep", 200_000)
    try:
        with running(where) as runner:
            runner.submit(code, ARGUMENTS).result(60)
            future = runner.submit(slow, ARGUMENTS)
            wait_until(future.running)
            os.kill(runner_board.process.pid, signal.SIGKILL)
            wait_until(lambda: "no board under the key host" in caplog.text)
            assert not future.done()
            with rpc.board(where):
                assert len(future.result(60)) == 3
    finally:
        rpc.stop(runner_board.process)
    assert "waiting up to 60 s" in caplog.text


def test_after_the_limit_a_lost_board_is_an_error_and_no_candidate_is_blamed(where, tmp_path):
    slow = calling(tmp_path, "slow", "usleep", 200_000)
    with rpc.board(where) as only, running(where, wait_s=1.0) as runner:
        futures = [runner.submit(slow, ARGUMENTS) for _ in range(2)]
        wait_until(futures[0].running)
        only.process.kill()
        for future in futures:
            with pytest.raises(BoardLost, match=r"no board under the key host .* after 1 s"):
                future.result(60)
        with pytest.raises(BoardLost):
            runner.submit(slow, ARGUMENTS).result(0)


def test_a_killed_tracker_is_waited_for(sleeper, caplog):
    with rpc.tracker_process() as (process, where):
        port = Address.parse(where).port
        with rpc.board(where), running(where) as runner:
            runner.submit(sleeper, ARGUMENTS).result(60)
            wait_until(lambda: free(where) == 1)
            process.kill()
            process.wait()
            future = runner.submit(sleeper, ARGUMENTS)
            wait_until(lambda: f"the tracker at {where} does not answer" in caplog.text)
            with rpc.tracker(port):
                assert len(future.result(60)) == 3


def test_a_tracker_that_stays_away_is_an_error_after_the_limit(sleeper):
    with (
        rpc.tracker_process() as (process, where),
        rpc.board(where),
        running(where, wait_s=1.0) as runner,
    ):
        process.kill()
        process.wait()
        with pytest.raises(BoardLost, match=r"tracker at .* does not answer .* after 1 s"):
            runner.submit(sleeper, ARGUMENTS).result(60)


def test_a_board_that_another_uses_is_waited_for(where, sleeper, caplog):
    with rpc.board(where), running(where) as other, running(where) as runner:
        other.submit(sleeper, ARGUMENTS).result(60)  # its session stays for a moment
        assert len(runner.submit(sleeper, ARGUMENTS).result(60)) == 3
    assert "every board under the key host is busy; waiting up to 60 s" in caplog.text


def test_a_kernel_that_crashes_costs_its_candidate_alone(where, sleeper, tmp_path):
    crash = calling(tmp_path, "crash", "abort")
    with rpc.board(where), running(where) as runner:
        futures = [runner.submit(code, ARGUMENTS) for code in (sleeper, crash, sleeper)]
        assert len(futures[0].result(60)) == len(futures[2].result(60)) == 3
        with pytest.raises(CandidateLost, match="run: it crashed the session"):
            futures[1].result(60)


def test_a_candidate_that_crashes_only_once_is_not_lost(where, tmp_path):
    with rpc.board(where), running(where) as runner:
        assert len(runner.submit(crashing_once(tmp_path), ARGUMENTS).result(60)) == 3


def test_a_kernel_that_hangs_costs_its_candidate_alone(where, sleeper, tmp_path):
    hang = calling(tmp_path, "hang", "pause")
    with rpc.board(where), running(where, timeout_s=3.0) as runner:
        hung, after = runner.submit(hang, ARGUMENTS), runner.submit(sleeper, ARGUMENTS)
        with pytest.raises(CandidateLost, match="run: timed out after 3 s"):
            hung.result(60)
        assert len(after.result(60)) == 3


def test_a_call_that_the_board_refuses_is_told_and_the_session_goes_on(where, sleeper):
    with rpc.board(where), running(where) as runner:
        wrong = runner.submit(sleeper, [((17,), "float32"), ((16,), "float32")])
        right = runner.submit(sleeper, ARGUMENTS)
        with pytest.raises(CandidateLost, match=r"run: .*expected 16"):
            wrong.result(60)
        assert len(right.result(60)) == 3


def test_without_a_tracker_nothing_is_waited_for():
    with pytest.raises(BoardError, match=r"no tracker answers at 127\.0\.0\.1:1 .*boards tracker"):
        find_boards(Address("127.0.0.1", 1), HOST)


def test_a_key_that_no_board_has_is_refused_with_those_that_are_there(where):
    with pytest.raises(BoardError, match=r"no board under the key host .*\(it has no boards\)"):
        find_boards(Address.parse(where), HOST)
    with (
        rpc.board(where, "other"),
        pytest.raises(BoardError, match=r"there: other.*boards serve --key host"),
    ):
        find_boards(Address.parse(where), HOST)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"architecture": "aarch64"}, "it is x86_64, but aarch64 was declared"),
        ({"cpu_features": ("amx_tile_of_mars",)}, "its processor lacks amx_tile_of_mars"),
        ({"core_count": 64}, "it has . cores, but 64 were declared"),
    ],
)
def test_a_board_that_is_not_what_was_declared_is_refused_by_name(where, changes, why):
    fields = {name: getattr(HOST, name) for name in HOST.__struct_fields__}
    declared = targets.Board(**{**fields, **changes})
    with (
        rpc.board(where) as served,
        pytest.raises(BoardError, match=f"the board at {served.address} is not a host: {why}"),
    ):
        find_boards(Address.parse(where), declared)


def test_closing_ends_a_candidate_that_is_under_way_and_frees_the_board(where, tmp_path):
    hang = calling(tmp_path, "hang", "pause")
    with rpc.board(where):
        with running(where) as runner:
            future = runner.submit(hang, ARGUMENTS)
            wait_until(future.running)
        with pytest.raises(BoardError, match="closed"):
            future.result(0)
        wait_until(lambda: free(where) == 1)
