"""Random torch networks, imported and run by the reference executor, compute what torch does."""

import pytest

from ...support.aten_forms import check
from ...support.random_torch import random_torch


@pytest.mark.filterwarnings("ignore:var:UserWarning")  # of one element
@pytest.mark.parametrize("seed", range(40))
def test_a_random_network_computes_what_torch_does(seed):
    network, inputs = random_torch(seed)
    check(network, inputs, 1e-3)
