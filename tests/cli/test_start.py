"""What a command loads, and what it says where packages are missing."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest

from adaspring import targets
from adaspring.cli.app import COMMANDS
from adaspring.explore.board.runtime import runtime_files
from adaspring.library.writer import write_library

from ..support.cli import adaspring
from ..support.libraries import parts

COMPILER = ("tvm", "torch", "onnx")


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("start") / "tiny.lib"
    write_library(folder, parts())
    return folder


RUN_AND_LIST = (
    "import sys; from adaspring.cli.app import app; "
    "app(sys.argv[1:], standalone_mode=False); "
    f"print([n for n in {COMPILER} if n in sys.modules], file=sys.stderr)"
)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("compile", "--help"),
        ("targets", "--json"),
        ("targets", "rock-5b"),
        ("inspect", "LIB"),
        ("run", "LIB"),
        ("bench", "LIB", "--seconds", "0.1"),
        ("bench", "LIB", "--switch", "--seconds", "0.1"),
        ("doctor",),
    ],
    ids=" ".join,
)
def test_commands_of_the_app_side_do_not_load_the_compiler(arguments, library):
    done = python(RUN_AND_LIST, *(library if word == "LIB" else word for word in arguments))
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"


def test_python_dash_m_is_the_command(library):
    command = [sys.executable, "-m", "adaspring", "inspect", str(library), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["name"] == "tiny"
    assert done.stderr == ""


def test_without_typer_the_command_says_what_to_install():
    code = (
        "import sys; sys.modules['typer'] = None; sys.argv = ['adaspring', 'targets']; "
        "from adaspring.cli import main; main()"
    )
    done = python(code)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "pip install 'adaspring[cli]'" in done.stderr
    assert "'adaspring[compiler]'" in done.stderr


# Refuses what only the compiler needs, and says that none of it is installed.
APP_SIDE = """
import importlib.metadata as metadata, sys
from importlib.abc import MetaPathFinder

REFUSED = {"tvm", "torch", "onnx", "pebble", "safetensors", "xgboost", "PIL", "tornado"}
real = metadata.version

class Refuse(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in REFUSED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

def version(name):
    if name in REFUSED | {"apache-tvm", "pillow", "xgboost-cpu"}:
        raise metadata.PackageNotFoundError(name)
    return real(name)

metadata.version = version
sys.meta_path.insert(0, Refuse())
from adaspring.cli import main
main()
"""


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Path:
    """A library that brings its runtime along."""
    folder = tmp_path_factory.mktemp("start") / "packed.lib"
    write_library(folder, replace(parts(), runtime_paths=runtime_files(targets.host())))
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect", "LIB"),
        ("run", "LIB"),
        ("bench", "LIB", "--seconds", "0.1"),
        ("bench", "LIB", "--switch", "--seconds", "0.1"),
        ("targets", "host"),
        ("doctor",),
        ("--help",),
    ],
    ids=" ".join,
)
def test_where_the_compiler_is_not_installed_the_commands_of_an_app_run(arguments, packed):
    done = python(APP_SIDE, *(packed if word == "LIB" else word for word in arguments))
    assert done.returncode == 0, done.stdout + done.stderr
    if arguments == ("doctor",):
        assert "everything that an app needs is here; to compile, pip install" in done.stdout


def test_a_profile_without_the_compiler_says_what_the_peak_would_need(packed):
    done = python(APP_SIDE, "bench", packed, "--profile", "--seconds", "0.1")
    assert done.returncode == 1  # these functions are not the ones that the tiny manifest lists
    assert "calls" in done.stderr
    assert "unexpected" not in done.stderr


def test_a_library_without_a_runtime_says_what_to_install_where_there_is_none(library):
    done = python(APP_SIDE, "run", library)
    assert done.returncode == 1
    assert "pip install apache-tvm==0.27.0.post1" in done.stderr


def test_without_the_compiler_compile_says_what_to_install():
    code = (
        "import sys; sys.modules['tvm'] = None; "
        "sys.argv = ['adaspring', 'compile', 'n.onnx', '-o', 'l']; "
        "from adaspring.cli import main; main()"
    )
    done = python(code)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "pip install 'adaspring[compiler]'" in done.stderr


def test_a_wrong_option_is_wrong_use():
    command = [sys.executable, "-m", "adaspring", "inspect", "--colour"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "--colour" in done.stderr


@pytest.mark.parametrize("name", [name for name, _ in COMMANDS])
def test_every_command_teaches_with_an_example(name):
    result = adaspring(name, "--help")
    assert result.exit_code == 0
    assert f"adaspring {name}" in result.stdout.partition("For example:")[2]
    assert "--json" in result.stdout


def test_a_closed_pipe_is_not_an_error(library):
    command = f"'{sys.executable}' -m adaspring inspect '{library}' --json | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert done.stdout == "{\n"
    assert "Traceback" not in done.stderr


def test_on_a_terminal_a_stage_is_over_when_the_next_begins(monkeypatch):
    from rich.console import Console

    from adaspring.cli.shared import bars

    drawn = StringIO()
    monkeypatch.setattr(
        bars, "console", lambda **_: Console(file=drawn, force_terminal=True, width=100)
    )
    with bars.Bars() as shown:
        shown.step("lower", 0, 2, "dense")
        shown.step("build", 1, 3, "int8 [x]")
    last = drawn.getvalue()
    assert "2/2" in last
    assert "1/3" in last
    assert "int8 [x]" in last


def test_where_stderr_is_no_terminal_no_bar_is_drawn(capsys):
    from adaspring.cli.shared import bars

    with bars.Bars() as shown:
        shown.step("lower", 0, 2, "dense")
        shown.note("kept")
    assert capsys.readouterr() == ("", "kept\n")
