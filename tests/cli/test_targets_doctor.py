"""What the machine and the boards are said to be."""

from __future__ import annotations

import json

import pytest

from adaspring import targets
from adaspring.cli.doctor import checks as checkup
from adaspring.errors import BuildError, WrongBoard
from adaspring.library.opencl import plugin

from ..support.boards import as_toml
from ..support.cli import adaspring, answer, refused
from ..support.opencl import require_opencl


def test_all_boards_are_listed_and_this_machine_is_marked():
    boards = {board["name"]: board for board in answer("targets")["boards"]}
    assert set(targets.names()) - set(boards) <= {"host-cuda"}  # listed where it is
    here = {name for name, board in boards.items() if board["is_this_machine"]}
    assert here - {"host-cuda"} == {"host", "host-opencl", "null"}
    assert all(name in adaspring("targets").stdout for name in boards)


@pytest.mark.parametrize("board", targets.BOARDS, ids=lambda board: board.name)
def test_every_figure_of_a_board_is_shown_with_its_source(board):
    shown = answer("targets", board.name)
    assert shown["memory_bytes"] == board.memory_bytes
    assert shown["sources"] == dict(board.sources)
    text = adaspring("targets", board.name).stdout
    assert str(board.memory_bytes) in text
    assert "energy.pj_per_mac_int8" in text


def test_a_users_board_is_shown_from_its_file(tmp_path):
    board = answer("targets", "raspberry-pi-5")
    del board["is_this_machine"]
    board["name"] = "mine"
    path = tmp_path / "mine.toml"
    path.write_text(as_toml(board))
    assert answer("targets", path)["name"] == "mine"
    path.write_text("colour = 'blue'\n" + as_toml(board))
    refused(adaspring("targets", path), "colour")
    refused(adaspring("targets", tmp_path / "none.toml"), "none.toml does not exist")


def check_of(name: str) -> dict:
    checks = {check["name"]: check for check in checkup_answer()["checks"]}
    return checks[name]


def checkup_answer() -> dict:
    return json.loads(adaspring("doctor", "--json").stdout)


def test_the_doctor_finds_everything_needed_here():
    found = answer("doctor")
    assert found["ok"]
    checks = {check["name"]: check for check in found["checks"]}
    for name in ("python", "apache-tvm", "apache-tvm-ffi", "torch", "libtvm_runtime", "processor"):
        assert checks[name]["status"] == "ok"
        assert checks[name]["essential"]
    assert "==0.27.0.post1" in checks["apache-tvm"]["detail"]
    assert "everything needed is here" in adaspring("doctor").stdout


def test_another_version_of_a_pinned_package_is_wrong_and_fails(monkeypatch):
    real = checkup.version
    monkeypatch.setattr(
        checkup, "version", lambda name: "0.1.15.post2" if name == "apache-tvm-ffi" else real(name)
    )
    result = adaspring("doctor", "--json")
    assert result.exit_code == 1
    check = check_of("apache-tvm-ffi")
    assert check["status"] == "wrong"
    assert check["todo"] == "pip install 'apache-tvm-ffi==0.1.14.post1'"
    assert not json.loads(result.stdout)["ok"]


def test_a_missing_package_fails_unless_it_is_optional(monkeypatch):
    real = checkup.version

    def without(*names):
        def version(name):
            if name in names:
                raise checkup.PackageNotFoundError(name)
            return real(name)

        monkeypatch.setattr(checkup, "version", version)

    without("matplotlib")
    assert adaspring("doctor").exit_code == 0
    assert check_of("matplotlib")["status"] == "missing"
    without("torch")
    assert adaspring("doctor").exit_code == 1
    assert check_of("torch")["todo"].startswith("pip install 'torch")


def test_a_missing_linker_names_the_package_that_brings_it(monkeypatch):
    from adaspring.backends.codegen import link

    def none(architecture):
        raise BuildError(f"no linker for {architecture} code; install Debian's binutils")

    monkeypatch.setattr(link, "find_linker", none)
    result = adaspring("doctor", "--json")
    assert result.exit_code == 1
    checks = {check["name"]: check for check in json.loads(result.stdout)["checks"]}
    here = targets.host().architecture
    assert checks[f"linker for {here}"]["todo"] == "install Debian's binutils"
    assert {checks[f"linker for {a}"]["essential"] for a in ("x86_64", "aarch64")} == {True, False}


def test_the_opencl_device_is_named_or_its_lack_with_what_to_install(monkeypatch):
    require_opencl()
    found = check_of("OpenCL")
    assert found["status"] == "ok"
    assert found["detail"]
    assert not found["essential"]

    def none(target, board):
        raise WrongBoard("no OpenCL device is here; install its driver")

    monkeypatch.setattr(plugin, "start", none)
    lacking = check_of("OpenCL")
    assert lacking["status"] == "missing"
    assert lacking["todo"] == "install its driver"
    assert answer("doctor")["ok"]
