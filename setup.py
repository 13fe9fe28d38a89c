"""Find the packages, which setuptools cannot where the root is one, and compile the native code."""

import os
import runpy
import subprocess
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.errors import CompileError

POOL = runpy.run_path("library/native/build.py")
OPENCL = runpy.run_path("library/opencl/build.py")
NATIVE = {  # the functions that compile, the variable that names a compiler, the compiler
    "pool": (POOL, "CC", "cc"),
    "runtime": (OPENCL, "CXX", "c++"),
}


class Modules(build_py):
    """All modules of a package; this file lies beside the root's, and is none."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        """List (package, module, file)."""
        found = super().find_package_modules(package, package_dir)
        return [row for row in found if row[:2] != ("adaspring", "setup")]


class Native(build_ext):
    """Compile as the package does where it comes without: these are no modules of Python's."""

    def get_ext_filename(self, fullname: str) -> str:
        """Return the path of the compiled file in the package."""
        made, _, _ = NATIVE[fullname.rpartition(".")[2]]
        return str(Path(*fullname.split(".")).with_name(made["file_name"]()))

    def build_extension(self, ext: Extension) -> None:
        """Compile; where that fails setuptools says so, and it is compiled when first used."""
        folder = Path(self.get_ext_fullpath(ext.name)).parent
        made, variable, compiler = NATIVE[ext.name.rpartition(".")[2]]
        try:
            made["build"](os.environ.get(variable, compiler), folder)
        except (OSError, subprocess.SubprocessError) as error:
            raise CompileError(str(error)) from error


class Wheel(bdist_wheel):
    """A wheel for one kind of machine and any Python 3."""

    def get_tag(self) -> tuple[str, str, str]:
        """Return the tags of Python, its ABI and the machine."""
        return ("py3", "none", super().get_tag()[2])


setup(
    packages=["adaspring", *(f"adaspring.{name}" for name in find_packages())],
    ext_modules=[
        Extension(
            "adaspring.library.native.pool",
            ["library/native/pool.c", "library/native/arena.c"],
            optional=True,
        ),
        Extension(
            "adaspring.library.opencl.runtime",
            [f"library/opencl/{source.name}" for source in OPENCL["SOURCES"]],
            optional=True,
        ),
    ],
    cmdclass={"bdist_wheel": Wheel, "build_ext": Native, "build_py": Modules},
)
