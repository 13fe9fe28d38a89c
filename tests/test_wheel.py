"""The wheel holds the package, all of it and nothing else, and every module of it is imported."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from adaspring.library.native import build
from adaspring.library.opencl import build as opencl_build

from .support.package import ROOT, copy_checkout, package_files

pytestmark = pytest.mark.slow


def isolation() -> list[str]:
    """Build with the setuptools that is here, if it is new enough; else pip fetches one."""
    try:
        found = version("setuptools")
    except PackageNotFoundError:
        return []
    return ["--no-build-isolation"] if int(found.partition(".")[0]) >= 77 else []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, unzipped."""
    folder = tmp_path_factory.mktemp("wheel")
    source = copy_checkout(folder / "source")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", *isolation()]
    done = subprocess.run(
        [*command, "--wheel-dir", folder, source], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "unzipped")
    return folder / "unzipped"


def test_it_holds_every_module_of_the_package_and_no_other(wheel):
    found = {file.relative_to(wheel / "adaspring") for file in wheel.rglob("*.py")}
    assert found == set(package_files())


def test_it_holds_the_types_mark_the_page_and_the_tuning_logs_that_ship(wheel):
    logs = [file.relative_to(ROOT) for file in (ROOT / "tuning_logs").glob("x86-*/*.jsonl*")]
    assert logs
    for file in (Path("py.typed"), Path("cli/watch/page.html"), *logs):
        assert (wheel / "adaspring" / file).read_bytes() == (ROOT / file).read_bytes()


def test_it_holds_the_thread_pool_compiled_from_the_source_that_it_holds(wheel):
    native = wheel / "adaspring" / "library" / "native"
    for source in (build.SOURCE, build.ARENA):
        assert (native / source.name).read_bytes() == source.read_bytes()
    assert [file.name for file in native.glob("*.so")] == [build.file_name()]
    assert hasattr(ctypes.CDLL(str(native / build.file_name())), "adaspring_pool_launch")


def test_it_holds_the_opencl_runtime_compiled_where_tvms_headers_are_at_hand(wheel):
    folder = wheel / "adaspring" / "library" / "opencl"
    for source in (*opencl_build.SOURCES, *opencl_build.HEADERS):
        assert (folder / source.name).read_bytes() == source.read_bytes()
    expected = [opencl_build.file_name()] if isolation() else []
    assert [file.name for file in folder.glob("*.so")] == expected


def test_it_is_for_any_python_3_on_this_kind_of_machine(wheel):
    (built,) = wheel.parent.glob("*.whl")
    assert built.name.endswith(f"-py3-none-linux_{platform.machine()}.whl")


IMPORT_ALL = """
import importlib, sys
for name in sys.argv[2:]:
    module = importlib.import_module(name)
    assert module.__file__.startswith(sys.argv[1]), module.__file__
"""


def test_every_module_is_imported_from_it(wheel):
    """In one process, and none runs as a program."""
    names = [
        ".".join(("adaspring", *file.with_suffix("").parts)).removesuffix(".__init__")
        for file in package_files()
    ]
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, str(wheel), *names],
        cwd=wheel,
        env={**os.environ, "PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
