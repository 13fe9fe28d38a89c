"""Find the packages: setuptools cannot by itself where the repository's root is one of them."""

from setuptools import find_packages, setup

setup(packages=["adaspring", *(f"adaspring.{name}" for name in find_packages())])
