"""A dense network and its compressed members as one module, trained together.

Each step runs the dense network, the smallest member and some of the others (the sandwich rule).
The dense network learns from labels, or a teacher; the members from what it says in the same step,
and a little from labels (in-place distillation).

Source  S. Liu et al., AdaSpring, IMWUT 2021, section 5 (ensemble training of all variants);
        J. Yu, T. Huang, Universally Slimmable Networks and Improved Training Techniques, ICCV 2019
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ..ir.model import Model
from .lift import TorchModel, place
from .members import Member
from .objective import answers_of


class Ensemble(TorchModel):
    """The dense network's module; its members read slices of its parameters.

    A run gives what is compared of the dense network and its outputs, then those of the members
    that take part: in validation all, in a step of training the smallest and `sampled` others.
    """

    reads_all_each_step = False

    def __init__(self, dense: Model, members: Mapping[str, Member], sampled: int, seed: int):
        super().__init__(dense)
        self.wanted = answers_of(dense)
        self._sampled, self._seed = sampled, seed
        ordered = sorted(members.items(), key=lambda pair: pair[1].macs_count)
        # In a plain list, so that the members' parameters are not the ensemble's.
        self._parts = [
            Part(name, f"member {i}", member) for i, (name, member) in enumerate(ordered)
        ]
        self._taking_part = self._parts
        for part in self._parts:
            part.wanted = answers_of(part.model)
            for path, value in part.own.items():
                place(self, path, value)

    def at_step(self, step: int | None) -> None:
        """Choose who takes part, by seed and step."""
        smallest, *others = self._parts
        if step is not None:
            order = np.random.default_rng((self._seed, step)).permutation(len(others))
            others = [others[at] for at in order[: self._sampled]]
        self._taking_part = [smallest, *others]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Give what the dense network answers, and the members that take part."""
        held, found = self.tensors(), list(super().forward(*inputs))
        for part in self._taking_part:
            part.given = part.weights(held)
            found += part(*inputs)
        return tuple(found)

    def weights_read(self) -> frozenset[str]:
        """Name the parameters that decide any answers."""
        of_parts = [part.ensemble_read() for part in self._parts]
        return super().weights_read().union(*of_parts)

    def members(self) -> dict[str, Model]:
        """Return each member as a network of its own, with the weights as they are now."""
        return {part.name: part.cut(self.tensors()) for part in self._parts}


class Part(TorchModel):
    """A member. `own` are the weights and scales that it does not share, as they start."""

    def __init__(self, name: str, prefix: str, member: Member):
        super().__init__(member.model)
        self.name, self._prefix = name, prefix
        self.given: Mapping[str, Tensor] = {}
        self._slices = {
            shared: {axis: torch.from_numpy(index) for axis, index in of.items()}
            for shared, of in member.slices.items()
        }
        self._offsets = {name: torch.from_numpy(d) for name, d in member.offsets.items()}
        self._axes = member.output_axes
        start = self.tensors()
        self.own = {self._path(n): v.detach() for n, v in start.items() if n not in self._slices}
        for shared, axis in self._axes.items():
            self.own[self._path(shared)] = torch.ones(start[shared].shape[axis])

    def ir_weights(self) -> Mapping[str, Tensor]:
        """Give what the ensemble cut."""
        return self.given

    def ensemble_read(self) -> set[str]:
        """Name the ensemble's parameters that decide its answers, shared ones and its own."""
        read = self.weights_read()
        return {self._path(name) for name in read} & set(self.own) | read & set(self._slices)

    def weights(self, held: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Cut and scale the ensemble's tensors."""
        return {name: self._weight(name, held) for name in self.model.weights}

    def cut(self, held: Mapping[str, Tensor]) -> Model:
        """Return the network alone."""
        now = {name: value.detach().cpu().numpy() for name, value in self.weights(held).items()}
        copies = {name: np.ascontiguousarray(value).copy() for name, value in now.items()}
        return self.model.evolved(self.model.module, copies)

    def _weight(self, name: str, held: Mapping[str, Tensor]) -> Tensor:
        if name not in self._slices:
            return held[self._path(name)]
        value = held[name]
        for axis, index in self._slices[name].items():
            value = value.index_select(axis, index.to(value.device))
        if name in self._axes:
            shape = [1] * value.ndim
            shape[self._axes[name]] = -1
            value = value * held[self._path(name)].reshape(shape)
        offset = self._offsets.get(name)
        return value if offset is None else value + offset.to(value.device)

    def _path(self, weight: str) -> str:
        """Where the ensemble holds a weight of its own, or the scale of a shared one."""
        return f"{self._prefix}.{weight}"
