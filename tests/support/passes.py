"""Networks imported for the passes, samples for them, and what tells two models apart."""

from functools import cache

import numpy as np
import torch
import tvm_ffi

from adaspring.frontend.data import Dataset
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.ir.layers import layers
from adaspring.ir.model import Model
from adaspring.passes.prune.coupling import coupling
from adaspring.passes.prune.prune import ChannelSlice
from adaspring.reference.executor import evaluate

from .networks import Fn, example_inputs

# These tensors are small, and a second thread waits in a spin loop where the cores are shared.
torch.set_num_threads(1)


class Small(Fn):
    """A network written as a function and its parts, whose parameters come from the seed."""

    def __init__(self, forward, seed=0, **parts):
        super().__init__(forward, **parts)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
        self.eval()


def imported(network, *shapes) -> Model:
    """Import a network of `networks.py`, or another one with the shapes of its inputs."""
    inputs = tuple(torch.zeros(shape) for shape in shapes) or example_inputs(network)
    return from_torch(network, inputs, name=type(network).__name__)


@cache
def known(network: type) -> Model:
    """Import a network of `networks.py` once; models are never changed."""
    return imported(network())


def data(model: Model, count: int = 24, seed: int = 0) -> Dataset:
    """Make normal random samples for a network."""
    random = np.random.default_rng(seed)
    shapes = [(count, *spec.shape[1:]) for spec in model.inputs]
    return Dataset(inputs=tuple(random.normal(size=s).astype(np.float32) for s in shapes))


def fingerprint(model: Model):
    """Hash a network's IR and its weights."""
    weights = tuple((name, array.tobytes()) for name, array in model.weights.items())
    return tvm_ffi.structural_hash(model.module), hash(weights)


def error_ratio(model: Model, other: Model, dataset: Dataset) -> float:
    """Compare first outputs: |y - y'| / |y|."""
    y, z = evaluate(model, dataset)[0], evaluate(other, dataset)[0]
    return float(np.linalg.norm(y - z) / np.linalg.norm(y))


def shapes(model: Model) -> dict[str, tuple[int, ...]]:
    return {layer.name: layer.weight_shape for layer in layers(model)}


def zeroed(model, decisions):
    """The dense network, with everything that the removed channels own set to zero."""
    weights = {name: array.copy() for name, array in model.weights.items()}
    atoms = coupling(model).atoms
    for decision in decisions:
        if isinstance(decision, ChannelSlice):
            for j in set(range(decision.group.units)) - set(decision.kept):
                for holder, axis, index in atoms[decision.group_index][j]:
                    np.moveaxis(weights[holder], axis, 0)[index] = 0
    return model.evolved(model.module, weights)
