"""Networks of the kinds that people share: imported as torch computes them, and built so."""

import pytest
import torch

from adaspring.frontend.from_torch.source import TorchSource
from adaspring.frontend.source import Imported
from adaspring.reference.import_check import check_import

from ...support.aten_forms import assert_equal, outputs_of
from ...support.backends import run
from ...support.boards import HOST
from ...support.hub_networks import hub_networks

pytestmark = pytest.mark.slow
NETWORKS = hub_networks()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_computes_what_torch_does(name, tmp_path):
    network, inputs = NETWORKS[name].network(), NETWORKS[name].inputs
    source = TorchSource(torch.export.export(network, inputs), "network")
    model = source.import_()
    check_import(Imported(model, source))
    found = run(model, HOST, tmp_path, *(x.numpy() for x in inputs))
    assert_equal(found, outputs_of(network, inputs), 1e-4)
