"""Outputs have memory of their own: an app changes an input, or an output, and keeps the rest."""

import numpy as np
import pytest
import torch
from torch import nn

import adaspring
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.library.weights import aligned_copy

from ...support.backends import library_of
from ...support.boards import HOST


class Shared(nn.Module):
    """Gives its input, a weight, a value twice, a constant, and views of them."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.arange(6.0).reshape(2, 3))

    def forward(self, x):
        y = x + 1
        first, second = torch.split(y * 2, [1, 2], 1)
        views = x.reshape(6), x.flatten().reshape(3, 2), self.weight.reshape(3, 2), y.reshape(6)
        return x, self.weight, y, y, torch.arange(4), *views, first, first.reshape(2), second


class Reshaped(nn.Module):
    """Computes nothing."""

    def forward(self, x):
        return x.reshape(3, 2)


@pytest.mark.parametrize("network", [Shared(), Reshaped(), nn.Identity()])
def test_outputs_stay_as_they_are_whatever_is_done_to_inputs_and_other_outputs(network, tmp_path):
    given = torch.arange(6.0).reshape(2, 3)
    model = from_torch(network.eval(), (given,), name="shared")
    wanted = network(given)
    wanted = [v.detach().numpy() for v in (wanted if isinstance(wanted, tuple) else [wanted])]
    with adaspring.load(library_of(model, HOST, tmp_path / "shared")).open() as net:
        x = aligned_copy(given.numpy())
        outputs = [np.asarray(value) for value in _outputs(net(x))]
        x[:] = -1
        for position, value in enumerate(outputs):
            np.testing.assert_array_equal(value, wanted[position])
            value[...] = -2
        again = [np.asarray(value) for value in _outputs(net(given.numpy()))]
        for value, right in zip(again, wanted, strict=True):
            assert value.dtype == right.dtype
            np.testing.assert_array_equal(value, right)


def _outputs(found):
    return found if isinstance(found, (list, tuple)) else [found]
