"""Find the packages: setuptools cannot by itself where the repository's root is one of them."""

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py


class Modules(build_py):
    """All modules of a package; this file lies beside the root's, and is none."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        """List (package, module, file)."""
        found = super().find_package_modules(package, package_dir)
        return [row for row in found if row[:2] != ("adaspring", "setup")]


setup(
    packages=["adaspring", *(f"adaspring.{name}" for name in find_packages())],
    cmdclass={"build_py": Modules},
)
