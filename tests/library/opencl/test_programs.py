"""Compiled OpenCL programs: kept on disk, taken at the next start, if they are right."""

from __future__ import annotations

import pytest

from ...support.opencl import SCALED, require_opencl, run_python


@pytest.fixture(scope="module", autouse=True)
def opencl():
    require_opencl()


KEPT = """
import os, sys, time
from pathlib import Path
import numpy as np, tvm, tvm_ffi
from adaspring.library.opencl import plugin
from tests.support.opencl import run_scaled, scaled
plugin.load(sys.argv[1] if len(sys.argv) > 1 else None)
tvm_ffi.get_global_func("adaspring.opencl.set_program_folder")(os.environ["PROGRAMS"])
assert np.array_equal(run_scaled(scaled(), np.ones(5, "float32"), 2.0), np.full(5, 2.0))
print(sorted((f.name, f.stat().st_mtime_ns) for f in Path(os.environ["PROGRAMS"]).iterdir()))
"""


def test_a_compiled_program_is_kept_and_taken_at_the_next_start(tmp_path):
    folder = tmp_path / "programs"
    first = run_python(KEPT, PROGRAMS=str(folder))
    assert first.returncode == 0, first.stderr
    (file,) = folder.iterdir()
    again = run_python(KEPT, PROGRAMS=str(folder))
    assert again.stdout == first.stdout
    identity, _, _ = file.read_bytes().partition(b"\0")
    assert identity.endswith(SCALED.partition("\n")[2].encode())


@pytest.mark.parametrize("spoil", ["torn", "of another source", "of another driver", "empty"])
def test_a_kept_program_that_is_not_this_one_is_compiled_anew(tmp_path, spoil):
    assert run_python(KEPT, PROGRAMS=str(tmp_path)).returncode == 0
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(
        {
            "torn": whole[:-100],
            "of another source": whole.replace(b"by * x[i]", b"by + x[i]"),
            "of another driver": b"OpenCL 9" + whole[8:],
            "empty": b"",
        }[spoil]
    )
    found = run_python(KEPT, PROGRAMS=str(tmp_path))
    assert found.returncode == 0, found.stderr
    assert file.read_bytes().partition(b"\0")[0] == whole.partition(b"\0")[0]


def test_programs_that_cannot_be_kept_run_all_the_same(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    found = run_python(KEPT.rpartition("print")[0], PROGRAMS=str(blocked / "programs"))
    assert found.returncode == 0, found.stderr
