"""A network at every shape that its library is to hold: the same decisions, the same weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...errors import AdaspringError
from ...frontend.shapes import specs_text
from ...ir.layers import layers
from ...ir.model import Model
from ...ir.same import is_same
from ...ir.verify import verify
from ...library import manifest as record
from ...passes import Compressed
from ..plan import Plan
from ..progress import Progress
from ..shortlist import dropped_record
from ..variants import Probe, Variant, make_variant, unlabelled_probe
from .padding import masked_inputs


@dataclass(frozen=True, kw_only=True)
class AtShape:
    """The network at one shape: the dense one, the samples to run there, every variant."""

    model: Model
    probe: Probe
    variants: tuple[Variant, ...]

    def only(self, chosen: Sequence[Variant]) -> AtShape:
        """The same, with those variants alone that have the names of some."""
        names = {variant.name for variant in chosen}
        return replace(self, variants=tuple(v for v in self.variants if v.name in names))


def at_every_shape(
    plan: Plan, variants: Sequence[Variant], probe: Probe, progress: Progress
) -> tuple[tuple[AtShape, ...], tuple[record.Dropped, ...]]:
    """Carry the variants of the first shape over to the further ones.

    Their outputs there are those on random samples. A variant whose decisions do not fit a shape is
    dropped, with the reason.

    Raises:
        AdaspringError: the dense network does not run at some shape.

    """
    further, lost = [], dict[str, record.Dropped]()
    for done, model in enumerate(plan.further_shapes):
        progress.step("carry over", done, len(plan.further_shapes), specs_text(model.inputs))
        there = unlabelled_probe(model, masked_inputs(model, plan.request.pad))
        made = []
        for variant in variants:
            try:
                made.append(_carry(plan.model, variant, model, there))
            except AdaspringError as error:
                if not variant.recipe.passes:
                    raise
                why = f"at {specs_text(model.inputs)}: {error}"
                lost.setdefault(variant.name, dropped_record(variant.recipe, why))
        further.append(AtShape(model=model, probe=there, variants=tuple(made)))
    first = AtShape(model=plan.model, probe=probe, variants=tuple(variants))
    kept = [variant for variant in variants if variant.name not in lost]
    return tuple(each.only(kept) for each in (first, *further)), tuple(lost.values())


def _carry(first: Model, variant: Variant, dense: Model, probe: Probe) -> Variant:
    """Apply a variant's decisions at another shape, where the network is `dense`."""
    model = dense
    for step in variant.steps:
        model = step.settings.apply(model, step.decisions)
    model = model.evolved(model.module, _shared_weights(first, variant, dense, model))
    verify(model)
    if [each.name for each in layers(model)] != [each.name for each in layers(variant.model)]:
        raise AdaspringError("the network has other layers at this shape")
    made = Compressed(model=model, steps=variant.steps)
    return make_variant(variant.recipe, made, probe, variant.training)


def _shared_weights(
    first: Model, variant: Variant, dense: Model, model: Model
) -> dict[str, np.ndarray]:
    """The variant's own weights; those alone that depend on the shape as they are at this one."""
    found = {}
    for name, here in model.weights.items():
        there = variant.model.weights.get(name)
        own = name in dense.weights and not is_same(dense.weights[name], first.weights.get(name))
        if not own and there is not None and there.shape == here.shape:
            found[name] = there
            continue
        if variant.training is not None and not is_same(first.weights.get(name), there):
            raise AdaspringError(f"{name} was retrained, and is another weight at this shape")
        found[name] = here
    return found
