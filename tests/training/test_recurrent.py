"""A lifted recurrent network has torch's gradients, through every step of its loop."""

import numpy as np
import pytest
import torch
from torch import nn

from adaspring.frontend.from_torch.importer import from_torch
from adaspring.training import TorchModel


class Last(nn.Module):
    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.head = kind(3, 6, batch_first=True, bidirectional=True), nn.Linear(12, 2)

    def forward(self, x):
        return self.head(self.layer(x)[0][:, -1])


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_gradients_go_through_time(kind):
    network, x = Last(kind).eval(), torch.randn(4, 1, 5, 3)
    lifted = TorchModel(from_torch(network, (x[0],), name="last"))
    network(x[:, 0]).square().sum().backward()
    lifted(x)[0].square().sum().backward()
    found = {name.replace("__", "."): p.grad for name, p in lifted.named_parameters()}
    for name in ("layer.weight_hh_l0", "layer.weight_ih_l0_reverse", "head.weight"):
        wanted = dict(network.named_parameters())[name].grad
        given = next(g for key, g in found.items() if key.endswith(name.rpartition(".")[2])
                     and g.shape == wanted.shape)  # fmt: skip
        np.testing.assert_allclose(given, wanted, rtol=1e-4, atol=1e-5)
