"""The house keeps its shape: rooms of one subject, short files, short functions."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from statistics import median

from .support.package import ROOT, package_files

MOST_FILES, MOST_LINES, MOST_TEST_LINES, MEDIAN_FUNCTION_LINES = 15, 300, 500, 10
FILES = package_files()
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def line_count(text: str) -> int:
    return len(text.splitlines())


def function_lines(text: str) -> Iterator[int]:
    """For each function the lines from its first statement to its last, without the docstring."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            documented = ast.get_docstring(node, clean=False) is not None
            body = node.body[1:] if documented else node.body
            yield body[-1].end_lineno - body[0].lineno + 1 if body else 0


def test_the_lines_of_a_function_are_those_of_its_statements():
    text = '''
def documented(a,
               b):
    """What it does."""
    if a:

        return b
    return a

def empty():
    """Does nothing."""
'''
    assert list(function_lines(text)) == [4, 0]


def test_a_folder_holds_at_most_15_files():
    count = Counter(file.parent for file in FILES)
    assert len(FILES) > 200
    assert {str(folder): n for folder, n in count.items() if n > MOST_FILES} == {}


def test_a_file_has_at_most_300_lines():
    lines = {str(file): line_count((ROOT / file).read_text()) for file in FILES}
    assert {file: n for file, n in lines.items() if n > MOST_LINES} == {}


def test_a_test_file_has_at_most_500_lines():
    lines = {str(file.relative_to(ROOT)): line_count(file.read_text()) for file in TESTS}
    assert {file: n for file, n in lines.items() if n > MOST_TEST_LINES} == {}


def test_the_median_function_has_at_most_10_lines():
    lines = [n for file in FILES for n in function_lines((ROOT / file).read_text())]
    assert median(lines) <= MEDIAN_FUNCTION_LINES


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def trespasses(text: str) -> Iterator[str]:
    """What a test takes that is not offered: private names, and names of test files."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            if (node.module or "").rpartition(".")[2].startswith(("test_", "conftest")):
                yield node.module
            yield from (alias.name for alias in node.names if is_private(alias.name))
        elif isinstance(node, ast.Attribute) and is_private(node.attr):
            if not (isinstance(node.value, ast.Name) and node.value.id == "self"):
                yield ast.unparse(node)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("setattr"):
            names = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
            yield from (n for n in names if is_private(str(n).rpartition(".")[2]))


def test_a_trespass_is_found():
    text = """
from ..tests.test_a import b
from x import _c, d
x._e, self._f, x.__name__
monkeypatch.setattr(x, "_g", None)
monkeypatch.setattr("adaspring.x._h", 3)
"""
    found = sorted(trespasses(text))
    assert found == ["_c", "_g", "adaspring.x._h", "tests.test_a", "x._e"]


def test_test_files_share_by_support_alone_and_use_no_private_name():
    found = {str(file.relative_to(ROOT)): list(trespasses(file.read_text())) for file in TESTS}
    assert {file: names for file, names in found.items() if names} == {}
