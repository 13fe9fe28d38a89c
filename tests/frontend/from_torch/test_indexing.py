"""Slicing, indexing, gathering and scattering, in their forms, against torch."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ...support.aten_forms import check, floats, form, integers

X, WIDE = floats(2, 5, 8), floats(2, 3, 4, 5)
AT = torch.tensor
COMPUTED = integers(-4, 4, 3)
TABLE = nn.Embedding(8, 4)

CONSTANT = {
    "select": form(lambda x: (x[:, 0], x[:, -1], x[1], x[..., -2], x.select(1, 2)), X),
    "select every axis": form(lambda x: x[1, -1, 0], X),
    "slices": form(lambda x: (x[:, 1:3], x[:, -2:], x[:, :-1], x[..., ::3], x[:, -9:2]), X),
    "steps": form(lambda x: x[:, 1:4:2, :: -1 + 3], X),
    "narrow": form(lambda x: x.narrow(1, -3, 2) + x.narrow(1, 0, 2), X),
    "new axes": form(lambda x: x[None, :, None, -1], X),
    "one list": form(lambda x: x[:, [0, 2, -1]], X),
    "a list of two axes": form(lambda x: x[:, AT([[0, 1], [-1, 2]])], X),
    "in front": form(lambda x: x[AT([-1, 0, 1])], X),
    "two side by side": form(lambda x: x[:, AT([1, 2, 0]), AT([0, 5, 7])], X),
    "two side by side, in front": form(lambda x: x[AT([1, 0]), AT([4, -5])], X),
    "two apart": form(lambda x: x[AT([0, 0]), :, AT([2, 3])], X),
    "two apart behind a slice": form(lambda x: x[:, AT([0, 2]), :, AT([4, -1])], WIDE),
    "two that broadcast": form(lambda x: x[:, AT([[1], [2]]), AT([0, 5, 7])], X),
    "a grid": form(lambda x: x[:, :, AT([[1], [-1]]), AT([[0, 4, 2]])], WIDE),
    "a grid the other way": form(lambda x: x[:, :, AT([[1, -1]]), AT([[0], [4], [2]])], WIDE),
    "three": form(lambda x: x[AT([0, 1]), AT([0, 2]), AT([3, -4])], WIDE),
    "all": form(lambda x: x[AT([0, 1]), AT([0, 2]), AT([3, -4]), AT([0, 0])], WIDE),
    "with a number between": form(lambda x: x[AT([0, 1]), 1, AT([3, -4])], WIDE),
    "a buffer": form(lambda s, x: x[:, s.i], X, i=nn.Buffer(AT([0, -1, 2]))),
    "a buffer of int32": form(lambda s, x: x[:, s.i], X, i=nn.Buffer(AT([0, -1, 2]).int())),
    "arange": form(lambda x: x[:, torch.arange(4, -1, -1)], X),
    "index_select": form(lambda x: x.index_select(-1, AT([0, 7, 3])), X),
    "index_select of numbers": form(lambda x: x[0, 0].index_select(0, AT([1, 1])), X),
    "take": form(lambda x: x.take(AT([[0, 79], [-1, 5]])), X),
    "gather": form(lambda x: x.gather(1, AT([[[0], [4]], [[3], [2]]])), X),
    "take_along_dim": form(lambda x: x.take_along_dim(x.argsort(1), 1), X),
    "flip": form(lambda x: (x.flip(0, -1), torch.fliplr(x), torch.flipud(x)), X),
    "roll": form(lambda x: (x.roll(1, 2), x.roll(-3, 1), x.roll((1, 2), (0, 1)), x.roll(5)), X),
    "rot90": form(lambda x: torch.rot90(x, 1, (1, 2)) + torch.rot90(x, -1, (1, 2)), X),
    "triangles": form(lambda x: (x.triu(), x.tril(-1), x.triu(2), x.tril(3)), X),
    "diagonal": form(lambda x: (x.diagonal(0, 1, 2), x.diagonal(1, 0, -1)), X),
    "diag_embed": form(lambda x: torch.diag_embed(x), floats(2, 3)),
    "trace by hand": form(lambda x: x[0].diagonal().sum(), X),
    "unfold": form(lambda x: x.unfold(1, 3, 2), X),
    "unfold the last": form(lambda x: x.unfold(-1, 4, 1), X),
    "as_strided": form(lambda x: x.as_strided((3, 2), (4, 1), 1), X),
    "repeat_interleave": form(lambda x: x.repeat_interleave(2, 1), X),
    "embedding of constants": form(lambda s, x: x[:, :4, :4] + s.e(torch.arange(4)), X, e=TABLE),
    "positions": form(lambda s, x: x + s.e(torch.arange(5)), floats(1, 5, 4), e=TABLE),
    "slice of a buffer": form(
        lambda s, x: x + s.pe[:, : x.size(1)], X, pe=nn.Buffer(floats(1, 9, 8))
    ),
    "slice of a parameter": form(
        lambda s, x: x + s.pe[:, -5:], X, pe=nn.Parameter(floats(1, 9, 8))
    ),
    "a row of a parameter": form(lambda s, x: x + s.pe[-1], X, pe=nn.Parameter(floats(9, 8))),
}
RUN_TIME = {
    "embedding": form(lambda s, i: s.e(i), integers(0, 8, 2, 3), e=TABLE),
    "embedding of int32": form(lambda s, i: s.e(i), integers(0, 8, 2, 3).int(), e=TABLE),
    "embedding of one": form(lambda s, i: s.e(i), AT(3), e=TABLE),
    "embedding with padding": form(
        lambda s, i: s.e(i), integers(0, 8, 2, 3), e=nn.Embedding(8, 4, padding_idx=0)
    ),
    "halves of ids": form(lambda s, i: s.e(i // 2), integers(0, 15, 2, 3), e=TABLE),
    "index": form(lambda x, i: x[:, i], X, COMPUTED),
    "index of int32": form(lambda x, i: x[:, i], X, COMPUTED.int()),
    "index of two axes": form(lambda x, i: x[:, :, i], X, integers(-8, 8, 3, 2)),
    "two side by side": form(lambda x, i: x[:, i, AT([0, 1, 2])], X, COMPUTED),
    "two apart": form(lambda x, i: x[i % 2, :, i], X, COMPUTED),
    "index_select": form(lambda x, i: x.index_select(1, i.abs()), X, COMPUTED),
    "gather": form(lambda x, i: x.gather(-1, i), X, integers(0, 8, 2, 5, 3)),
    "gather of fewer rows": form(lambda x, i: x.gather(1, i), X, integers(0, 5, 1, 7, 6)),
    "gather by largest": form(lambda x: x.gather(1, x.argmax(1, keepdim=True)), X),
    "take": form(lambda x, i: x.take(i), X, COMPUTED),
    "an integer table": form(lambda i: AT([5, 6, 7, 8])[i], COMPUTED),
    "last by computed length": form(lambda x: x[:, (x.sum(1)[0] > 0).long()], X),
}
SCATTER = {
    "scatter": form(lambda x, y: x.scatter(1, AT([[[0] * 8, [4] * 8]] * 2), y), X, floats(2, 2, 8)),
    "scatter of fewer": form(lambda x, y: x.scatter(1, AT([[[0, 1, 2]]]), y), X, floats(2, 2, 8)),
    "scatter a number": form(lambda x: x.scatter(2, AT([[[0], [7]]]), 5.0), X),
    "scatter at run time": form(lambda x, i: x.scatter(2, i, 5.0), X, integers(0, 8, 2, 5, 1)),
    "scatter_add": form(
        lambda x, y, i: x.scatter_add(1, i, y), X, floats(2, 6, 8), integers(0, 5, 2, 6, 8)
    ),
    "one-hot by scatter": form(
        lambda i: torch.zeros(3, 8).scatter(1, i, 1.0), integers(0, 8, 3, 1)
    ),
    "index_put": form(lambda x: x.index_put((AT([0, 1]), AT([-1, 2])), AT(3.0)), X),
    "index_put accumulates": form(
        lambda x: x.index_put((AT([0, 0, 1]),), AT(3.0), accumulate=True), X
    ),
    "index_put in a gap": form(
        lambda x, y: torch.ops.aten.index_put(x, [None, AT([4, 0])], y), X, floats(2, 2, 8)
    ),
    "index_add": form(lambda x, y: x.index_add(1, AT([0, 4, 0]), y, alpha=2), X, floats(2, 3, 8)),
    "index_copy": form(lambda x, y: x.index_copy(1, AT([3, 0]), y), X, floats(2, 2, 8)),
    "index_fill": form(lambda x: x.index_fill(1, AT([0, -1]), 2.0), X),
    "slice assigned": form(lambda x: _assigned(x, (slice(None), slice(1, 4, 2)), 0.5), X),
    "row assigned": form(lambda x: _assigned(x, (slice(None), -1), 0.5), X),
    "slice assigned a tensor": form(
        lambda x, y: _assigned(x, (slice(None), slice(-2, None)), y), X, floats(2, 2, 8)
    ),
    "list assigned": form(lambda x: _assigned(x, (slice(None), [0, -1]), 0.5), X),
    "mask assigned": form(lambda x: _assigned(x, x > 0, 0.5), X),
    "zeros filled": form(lambda x: _filled(x), X),
    "fold": form(lambda x: F.fold(x, (4, 5), (2, 2), stride=1), floats(1, 12, 12)),
}


def _assigned(x, where, value):
    y = x.clone()
    y[where] = value
    return y


def _filled(x):
    y = torch.zeros(2, 7, 8)
    y[:, 1:6] = x
    return y


FORMS = {
    f"{kind}: {name}": value
    for kind, forms in (("constant", CONSTANT), ("run time", RUN_TIME), ("scatter", SCATTER))
    for name, value in forms.items()
}


@pytest.mark.parametrize("name", FORMS)
def test_an_indexing_operator_computes_what_torch_does(name):
    check(FORMS[name].network(), FORMS[name].inputs)
