"""Networks of convolutions over one and three axes, and of transposed ones, can be trained."""

import pytest
import torch

from adaspring.frontend.from_torch.importer import from_torch
from adaspring.passes import Quantize
from adaspring.training.fake_quantize import QuantizationAware
from adaspring.training.lift import TorchModel

from ..support.convolution_networks import convolution_network
from ..support.passes import data


@pytest.mark.parametrize(("rounded", "bound"), [(False, 1e-5), (True, 0.05)], ids=["float", "int8"])
@pytest.mark.parametrize("name", ["Tcn", "Video", "Vocoder"])
def test_a_gradient_reaches_every_weight(name, rounded, bound):
    network = convolution_network(name)
    x = torch.randn(network.shape, generator=torch.Generator().manual_seed(0))
    model = from_torch(network, (x,), name=name)
    lifted = TorchModel(model)
    if rounded:
        lifted = QuantizationAware(model, Quantize().plan(model, data(model, 8 * model.batch)))
    (y,) = lifted(x)
    wanted = network(x).detach()
    assert torch.linalg.vector_norm(y.detach() - wanted) < bound * torch.linalg.vector_norm(wanted)
    y.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in lifted.parameters())
