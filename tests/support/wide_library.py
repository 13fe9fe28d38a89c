"""A library of three widths of one network, as the compiler builds them, and what each computes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from adaspring.backends.build import build, prepare
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.library.manifest import TensorSpec, board_record
from adaspring.library.writer import write_library

from .boards import HOST
from .libraries import parts

WIDTHS = {"wide": 96, "half": 48, "narrow": 16}
SHAPE = (1, 3, 24, 24)
_MAPPING = re.compile(r"[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \S+ *(.*)\n")


@cache
def network(name: str) -> nn.Module:
    """Three convolutions of a width, and ten numbers of their means."""
    width = WIDTHS[name]
    torch.manual_seed(width)
    layers = [nn.Conv2d(3, width, 3, padding=1), nn.ReLU()]
    for _ in range(2):
        layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10)
    ).eval()


def sample(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(SHAPE, dtype=np.float32)


def answers(x: np.ndarray) -> dict[str, np.ndarray]:
    """What torch computes in float64, by the variant's name."""
    given = torch.from_numpy(x).double()
    with torch.no_grad():
        return {name: deepcopy(network(name)).double()(given).numpy() for name in WIDTHS}


def write_wide_library(folder: Path) -> Path:
    """Write it for this machine; its code is built beside it."""
    base, variants = parts(folder), []
    for name in WIDTHS:
        model = from_torch(network(name), (torch.zeros(SHAPE),), name="wide")
        built = build(prepare(model, HOST), None, folder.parent / f"{name}.so")
        variants.append(
            replace(
                base.variants[0],
                name=name,
                code_path=built.code,
                functions=built.functions,
                weights=dict(built.weights),
            )
        )
    inputs, outputs = (
        tuple(TensorSpec(name=spec.name, shape=spec.shape, dtype=spec.dtype) for spec in side)
        for side in (model.inputs, model.outputs)
    )
    written = replace(
        base, board=board_record(HOST), inputs=inputs, outputs=outputs,
        plainest="wide", variants=tuple(variants), dropped=(),
    )  # fmt: skip
    write_library(folder, written)
    return folder


def code_loaded() -> set[str]:
    """The names of the variants whose code is mapped into this process, from any library."""
    with Path("/proc/self/maps").open() as lines:
        return set(re.findall(r"memfd:adaspring:(\S+)\.so", lines.read()))


def weights_kib(folder: Path) -> Mapping[str, int]:
    """`Rss`, `Pss` and more of a library's mapped weights in this process."""
    found: Counter[str] = Counter()
    ours = False
    with Path("/proc/self/smaps").open() as lines:
        for line in lines:
            if mapping := _MAPPING.match(line):
                ours = mapping[1].startswith(str(folder.resolve()))
            elif ours and line.endswith("kB\n"):
                key, value, _ = line.split()
                found[key.rstrip(":")] += int(value)
    return found
