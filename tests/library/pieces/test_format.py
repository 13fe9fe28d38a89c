"""A manifest's pieces are refused where they contradict themselves."""

import pytest

from adaspring.errors import LibraryError, ManifestError
from adaspring.library import reader
from adaspring.library.loader import load
from adaspring.library.writer import write_library

from ...support.libraries import forge
from ...support.pieces import parts_in_pieces


@pytest.fixture
def folder(tmp_path):
    write_library(tmp_path / "net.lib", parts_in_pieces())
    return tmp_path / "net.lib"


def composition(raw):
    return raw["composition"]


def cell(raw, index=0):
    return composition(raw)["segments"][0]["cells"][index]


def form(raw, segment=0):
    return composition(raw)["segments"][segment]["cells"][2]["forms"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: composition(m).update(segments=[]), "length >= 2"),
        (lambda m: composition(m)["segments"][0].update(cells=[]), "length >= 1"),
        (lambda m: composition(m).update(colour="red"), "unknown field `colour`"),
        (lambda m: cell(m).update(name="int8"), "2 cells of segment 0 are named 'int8'"),
        (lambda m: cell(m).update(name="a/b"), "holds a slash"),
        (lambda m: cell(m).update(code="code/none.so"), "'code/none.so' is used but not among"),
        (lambda m: cell(m).update(code="../x.so"), "is used but not among the files"),
        (
            lambda m: composition(m)["combinations"][0].update(cells=["dense"]),
            "combination 'dense' is none of the segments' cells",
        ),
        (
            lambda m: composition(m)["combinations"][0].update(cells=["dense", "int4"]),
            "combination 'dense/int4' is none",
        ),
        (
            lambda m: composition(m)["metric"].update(cells=[[0.0], [0.0]]),
            r"for \[1, 1\] cells, the segments have \[3, 3\]",
        ),
        (lambda m: composition(m)["metric"].update(pairs=[[[0.0]]]), "pairs of other cells"),
        (lambda m: cell(m, 2).update(forms=2 * cell(m, 2)["forms"]), "has a form twice"),
        (lambda m: form(m).update(gives=None), "takes and gives floats, as it does itself"),
        (lambda m: form(m).update(takes=form(m)["gives"]), "form for levels, where none cross"),
        (lambda m: form(m, 1).update(gives=form(m)["gives"]), "for levels, where none cross"),
        (lambda m: form(m)["gives"].update(scale=0.0), "> 0"),
        (lambda m: form(m)["gives"].update(zero_point=-1), "for levels that there are not"),
        (lambda m: form(m)["gives"].update(dtype="int8", zero_point=200), "levels that there are"),
        (lambda m: form(m)["gives"].update(dtype="float32"), "Invalid enum value 'float32'"),
        (lambda m: form(m).update(code="code/none.so"), "'code/none.so' is used but not among"),
        (lambda m: composition(m)["latency"].update(crossings=[[[0.0]]]), "pairs of other cells"),
        (lambda m: composition(m)["metric"].update(bound=-1.0), ">= 0"),
        (lambda m: composition(m)["latency"].update(scale=0.0), "> 0"),
        (lambda m: composition(m)["latency"].update(offset_ms=1e400), "malformed"),
        (
            lambda m: composition(m)["combinations"][0]["validation_metric"].update(name="mse"),
            "it has 2 metrics",
        ),
        (
            lambda m: composition(m)["combinations"][0]["latency_p90_ms"].update(when="now"),
            "no ISO 8601 time",
        ),
    ],
)
def test_forged_pieces_are_refused_in_one_line_that_names_them(folder, change, message):
    forge(folder, change)
    with pytest.raises(ManifestError, match=message) as caught:
        reader.read_manifest(folder)
    assert "\n" not in str(caught.value)


def test_code_of_a_cell_that_was_changed_is_refused(folder):
    path = folder / "code/cells/1/int8.so"
    path.write_bytes(path.read_bytes()[:-1] + b"\0\1")
    with pytest.raises(LibraryError, match=r"code/cells/1/int8\.so"):
        load(folder)
