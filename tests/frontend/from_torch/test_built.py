"""Operators that read and write places, built for this machine, compute what torch does."""

import numpy as np
import pytest
import torch
from torch import nn

from adaspring.frontend.from_torch.importer import from_torch

from ...support.aten_forms import assert_equal, floats, form, integers, outputs_of
from ...support.backends import run
from ...support.boards import HOST

pytestmark = pytest.mark.slow

AT, X = torch.tensor, floats(2, 5, 8)
FORMS = {
    "slices and rows from the end": form(
        lambda x: (x[:, -1], x[:, -3:-1], x[..., -2], x[:, 1::2] * 2, x.narrow(1, -3, 2)), X
    ),
    "constant indices": form(
        lambda x: (x[:, [0, 2, -1]], x[AT([0, 0]), :, AT([2, -3])], x[:, AT([1, -1]), AT([0, -8])]),
        X,
    ),
    "computed indices": form(
        lambda x, i: (x[:, i], x[i % 2, :, i], x.gather(1, i.abs()[None, :, None])),
        *(X, integers(-4, 4, 3)),
    ),
    "rolled, flipped, padded": form(
        lambda x: (x.roll(-2, 1), x.flip(2), nn.functional.pad(x, (2, 1), mode="circular")), X
    ),
    "places written": form(
        lambda x, i: (
            x.scatter(2, i, 5.0),
            x.index_put((AT([0, 1]), AT([-1, 2])), AT(3.0)),
            x.slice_scatter(x[:, :2] * 2, 1, -2),
        ),
        *(X, integers(0, 8, 2, 5, 1)),
    ),
    "tokens": form(
        lambda s, i: s.e(i) + s.e(torch.arange(3)), integers(0, 8, 2, 3), e=nn.Embedding(8, 4)
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_computes_what_torch_does(name, tmp_path):
    network, inputs = FORMS[name].network(), FORMS[name].inputs
    model = from_torch(network, inputs, name="form")
    found = run(model, HOST, tmp_path, *(x.numpy() for x in inputs))
    assert_equal(found, outputs_of(network, inputs))


def test_an_index_out_of_range_reads_and_writes_inside_the_tensor(tmp_path):
    """torch raises an error; here what is read is unspecified, but it is of the tensor."""
    network = form(
        lambda s, x, i: (s.e(i), x[:, i], x[i, :, i], x.scatter(1, i[None, :, None], 7.0)),
        *(X, integers(0, 2, 3)),
        e=nn.Embedding(8, 4),
    )
    model = from_torch(network.network(), network.inputs, name="form")
    far = np.array([-(10**9), 10**12, 40])
    rows, taken, both, written = run(model, HOST, tmp_path, X.numpy(), far)
    assert np.isin(rows, network.parts["e"].weight.detach().numpy()).all()
    assert np.isin(taken, X.numpy()).all()
    assert np.isin(both, X.numpy()).all()
    assert np.isin(written, [*X.numpy().ravel(), 7.0]).all()
