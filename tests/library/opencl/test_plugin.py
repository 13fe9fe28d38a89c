"""How OpenCL comes into a process, and how it is refused."""

from __future__ import annotations

import pytest

from adaspring.errors import RuntimeMissing, WrongBoard
from adaspring.library.opencl import build, plugin
from adaspring.targets import host_opencl

from ...support.opencl import require_opencl, run_python


@pytest.fixture(scope="module", autouse=True)
def opencl():
    require_opencl()


def test_importing_tvm_brings_opencl_where_the_runtime_is_compiled():
    plugin.path()
    found = run_python("import tvm; print(tvm.opencl(0).exist)")
    assert found.stdout.strip() == "True"
    off = run_python("import tvm; print(tvm.opencl(0).exist)", TVM_DEVICE_BACKEND_AUTOLOAD="0")
    assert off.stdout.strip() == "False"


def test_without_a_device_the_error_says_what_to_install(tmp_path):
    script = (
        "import tvm; from adaspring.library.opencl import plugin; "
        "from adaspring.targets import host_opencl; plugin.start(host_opencl().target, 'box')"
    )
    found = run_python(script, OCL_ICD_VENDORS=str(tmp_path))
    assert "WrongBoard: box computes through OpenCL, and no OpenCL device is here" in found.stderr
    assert "apt install pocl-opencl-icd" in found.stderr


def test_a_board_with_higher_limits_than_the_device_is_refused():
    target = dict(host_opencl().target) | {"max_shared_memory_per_block": 1 << 40}
    with pytest.raises(WrongBoard, match=r"box has 1099511627776 for max_shared_memory_per_block"):
        plugin.start(target, "box")


def test_another_release_of_tvm_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(plugin, "is_loaded", lambda: False)
    monkeypatch.setattr(plugin, "version", lambda _: "0.28.1")
    with pytest.raises(RuntimeMissing, match=r"is for TVM 0.27, installed is 0.28.1; `pip install"):
        plugin.load()
    plugin.autoload()  # and says nothing where nobody asked


def test_a_compiled_file_serves_no_other_sources(monkeypatch, tmp_path):
    before = build.file_name()
    changed = tmp_path / "module.cc"
    changed.write_text("// another\n")
    monkeypatch.setattr(build, "SOURCES", (changed,))
    assert build.file_name() != before
