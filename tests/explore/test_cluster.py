"""Building on a cluster of two hosts gives what building here gives, also when one is lost."""

from __future__ import annotations

import os
import socket
from concurrent.futures import Future
from pathlib import Path

import pytest
import tvm

from adaspring import targets
from adaspring.backends.build import compile_bytes, prepare, schedule
from adaspring.backends.farm import JobLost, cluster
from adaspring.backends.farm.cluster import cluster_farm, differences
from adaspring.backends.tuning.settings import Tuning
from adaspring.errors import BuildError, UsageError
from adaspring.explore.board import code_jobs
from adaspring.explore.board.code_jobs import CodeJob, build_all
from adaspring.explore.compile import compile_libraries
from adaspring.explore.plan import plan
from adaspring.explore.progress import Silent
from adaspring.explore.recipes import DENSE, Recipe
from adaspring.explore.request import Bounds, Request
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.library.reader import read_manifest
from adaspring.passes.prune.prune import Prune

from ..support import networks
from ..support.cli import adaspring, answer, exported, measure_briefly, refused
from ..support.cluster import kill, running
from ..support.waiting import eventually

pytestmark = pytest.mark.slow

TIMEOUT_S = 120.0


@pytest.fixture(scope="module")
def two_hosts(tmp_path_factory):
    with running(tmp_path_factory.mktemp("cluster"), 2) as made:
        yield made


@pytest.fixture(scope="module")
def model():
    network = networks.SmallCnn()
    return from_torch(network, networks.example_inputs(network), name="small")


@pytest.fixture(scope="module", autouse=True)
def brief():
    """Times are of no interest here."""
    with pytest.MonkeyPatch.context() as patch:
        measure_briefly(patch)
        yield


def begin(folder: Path, seconds: float) -> str:
    """A call that leaves a file named after the dask worker that it runs under, then takes time."""
    return f"""
import os, time
open(os.path.join({str(folder)!r}, f"{{os.getppid()}}-{{time.time_ns()}}"), "w").close()
time.sleep({seconds})
"""


def test_a_host_that_is_killed_in_the_middle_loses_nothing(model, tmp_path):
    """Two hosts, each at a call with builds waiting behind it; one is killed."""
    boards = (targets.null(), targets.host()) * 3
    jobs = [(tvm.ir.save_json(schedule(prepare(model, b), None).module), b) for b in boards]
    begun = tmp_path / "begun"
    begun.mkdir()
    with running(tmp_path, 2) as hosts, cluster_farm(hosts.address, timeout_s=TIMEOUT_S) as farm:
        assert farm.width == 2
        first = [farm.submit(exec, begin(begun, seconds=3)) for _ in range(2)]
        code = [farm.submit(compile_bytes, *job) for job in jobs]
        assert eventually(lambda: len(list(begun.iterdir())) == 2, 60)
        kill(hosts.workers[0])
        assert [call.result(timeout=120) for call in first] == [None, None]
        assert [call.result(timeout=120) for call in code] == [compile_bytes(*job) for job in jobs]
        runs = [path.name.partition("-")[0] for path in begun.iterdir()]
        assert len(runs) == 3  # the lost call was done again, on the host that was left
        assert len(set(runs)) == 2


def test_on_a_cluster_too_a_crash_a_hang_and_an_exception_cost_one_call(two_hosts):
    with cluster_farm(two_hosts.address, timeout_s=4, memory_bytes=512 << 20) as farm:
        crashed, hung = farm.submit(os.abort), farm.submit(exec, "import time; time.sleep(99)")
        large, wrong = farm.submit(bytearray, 1 << 33), farm.submit(int, "seven")
        others = [farm.submit(pow, n, 2) for n in range(8)]
        with pytest.raises(JobLost, match="crashed with SIGABRT"):
            crashed.result(timeout=120)
        with pytest.raises(JobLost, match="hung: timed out after 4 s"):
            hung.result(timeout=120)
        with pytest.raises(JobLost, match="out of memory"):
            large.result(timeout=120)
        with pytest.raises(ValueError, match="'seven'"):
            wrong.result(timeout=120)
        assert [call.result(timeout=120) for call in others] == [n * n for n in range(8)]


def test_leaving_a_cluster_ends_what_still_runs_there(two_hosts, tmp_path):
    farm = cluster_farm(two_hosts.address, timeout_s=TIMEOUT_S)
    code = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(__import__('os').getpid()))\n"
    call = farm.submit(exec, code + begin(tmp_path, seconds=100))
    assert eventually(lambda: len(list(tmp_path.iterdir())) == 2, 60)
    farm.close()
    assert call.cancelled()
    pid = int((tmp_path / "pid").read_text())
    assert eventually(lambda: not Path(f"/proc/{pid}").exists(), 60)
    with pytest.raises(RuntimeError, match="the farm is closed"):
        farm.submit(pow, 2, 2)


def request(model, folder: Path, **changes) -> Request:
    settings = {
        "boards": (targets.null(), targets.find("raspberry-pi-5")),
        "output": folder / "lib",
        "recipes": (DENSE, Recipe(name="pruned", passes=(Prune(keep_ratio=0.5, multiple_of=4),))),
        "bounds": Bounds(max_drop=1.0, front_only=False),
        "tuning": Tuning(trials=0),
        "logs": folder / "logs",
    }
    return Request(model=model, **(settings | changes))


@pytest.fixture(scope="module")
def here(model, tmp_path_factory):
    """Libraries of two boards, built in this process."""
    folder = tmp_path_factory.mktemp("here")
    compile_libraries(plan(request(model, folder)))
    return folder / "lib"


def assert_same_code(found: Path, expected: Path) -> None:
    """The same variants for each board, with the same code and weights to the byte.

    Which variants of this machine are kept depends on its times, all but the dense one.
    """
    for board, kept in (("raspberry-pi-5", None), ("null", ["dense"])):
        ours, theirs = (read_manifest(folder / board) for folder in (found, expected))
        named = [sorted(v.name for v in (*m.variants, *m.dropped)) for m in (ours, theirs)]
        assert named[0] == named[1] == ["dense", "pruned"]
        for name in kept or named[0]:
            files = [
                next(v for v in manifest.variants if v.name == name) for manifest in (ours, theirs)
            ]
            assert files[0].code == files[1].code
            assert files[0].weights == files[1].weights


@pytest.mark.usefixtures("aarch64_linker")
def test_libraries_built_on_a_cluster_are_those_built_here(model, two_hosts, here, tmp_path):
    result = compile_libraries(plan(request(model, tmp_path, cluster=two_hosts.address)))
    assert result.failures == ()
    assert_same_code(tmp_path / "lib", here)
    measured = read_manifest(tmp_path / "lib" / "null").variants[0]
    assert measured.agreement.max_error_ratio <= measured.agreement.tolerance_ratio


@pytest.mark.usefixtures("aarch64_linker")
def test_libraries_built_in_worker_processes_are_those_built_here(
    model, here, tmp_path, monkeypatch
):
    monkeypatch.setattr(code_jobs, "WORTH_A_FARM_BYTES", 0)
    monkeypatch.setattr(code_jobs, "compile_library", None)  # nothing is compiled here
    result = compile_libraries(plan(request(model, tmp_path)))
    assert result.failures == ()
    assert_same_code(tmp_path / "lib", here)


def test_a_variant_whose_compiler_crashes_is_named(model, tmp_path):
    lost = Future()
    lost.set_exception(JobLost("crashed with SIGSEGV"))
    prepared = prepare(model, targets.null())
    scheduled = schedule(prepared, None)
    with pytest.raises(BuildError, match="build for null: compiling dense crashed with SIGSEGV"):
        build_all([CodeJob("dense", prepared, scheduled, lost)], targets.null(), tmp_path, Silent())


def test_candidates_are_built_on_the_cluster_and_timed_here(two_hosts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("adaspring.backends.tuning.workbench.build_farm", None)  # none here
    arguments = ("compile", exported(networks.Mlp, ".pt2"), "--recipe", "dense", "--trials", 4)
    where = ("--cluster", two_hosts.address, "--logs", "logs")
    (board,) = answer(*arguments, "-o", "c.lib", *where)["boards"]
    assert board["tuning"]["measured_count"] == 4
    assert board["tuning"]["failed"] == []


def test_a_scheduler_that_is_not_there_is_one_line(tmp_path):
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        address = "{}:{}".format(*taken.getsockname())
        arguments = ("compile", exported(networks.Mlp, ".pt2"), "-o", tmp_path / "c.lib")
        result = adaspring(*arguments, "--cluster", address)
    refused(result, f"no scheduler answers at {address}", "start one with `dask scheduler`")
    assert not (tmp_path / "c.lib").exists()


@pytest.mark.parametrize("address", ["somewhere", "host:port", "ftp://host:1"])
def test_what_is_not_an_address_is_wrong_use(address):
    with pytest.raises(UsageError, match="is not a scheduler's address"):
        cluster_farm(address, timeout_s=TIMEOUT_S)


def test_encryption_without_certificates_is_wrong_use():
    with pytest.raises(
        UsageError, match=r"needs TLS certificates, and none are set; see docs/cluster\.md"
    ):
        cluster_farm("tls://127.0.0.1:8786", timeout_s=TIMEOUT_S)


def test_a_cluster_that_loses_all_it_has_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "NO_WORKER_S", 1.0)
    with running(tmp_path, 0) as hosts:
        with pytest.raises(BuildError, match="has no workers; start one with `dask worker"):
            cluster_farm(hosts.address, timeout_s=TIMEOUT_S)
        hosts.add_worker("--no-nanny")
        hosts.add_worker("--no-nanny")
        hosts.wait_for_workers(2)
        with cluster_farm(hosts.address, timeout_s=TIMEOUT_S) as farm:
            lethal = farm.submit(exec, "import os; os.kill(os.getppid(), 9)")
            with pytest.raises(JobLost, match="every cluster worker that ran it was lost"):
                lethal.result(timeout=120)
            with pytest.raises(BuildError, match="no worker for 1 s; start one"):
                farm.submit(pow, 2, 2).result(timeout=120)
        hosts.add_worker("--no-nanny")
        hosts.wait_for_workers(1)
        with cluster_farm(hosts.address, timeout_s=TIMEOUT_S) as farm:
            call = farm.submit(exec, begin(tmp_path, seconds=100))
            kill(hosts.scheduler)
            with pytest.raises(BuildError, match="the cluster's scheduler was lost"):
                call.result(timeout=120)


def test_workers_with_other_versions_are_listed():
    def host(python: str, **packages: str | None) -> dict:
        return {"packages": {"python": python, **packages}}

    names = {"adaspring": "0.1.0", "apache-tvm": "0.27.0.post1", "apache-tvm-ffi": "0.1.14.post1"}
    ours = host("3.11.7.final.0", **names)
    workers = {
        "tcp://a:1": host("3.11.9.final.0", **names),
        "tcp://b:1": host("3.12.1.final.0", **names),
        "tcp://c:1": host("3.11.7.final.0", **(names | {"adaspring": "0.2.0", "apache-tvm": None})),
    }
    assert list(differences(ours, workers)) == [
        "tcp://b:1 has python 3.12, not 3.11",
        "tcp://c:1 has adaspring 0.2.0, not 0.1.0",
        "tcp://c:1 has no apache-tvm, not 0.27.0.post1",
    ]
