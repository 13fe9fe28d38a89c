"""One way in for every kind of network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError
from ..files.read import check_regular, memory_bytes
from ..ir.model import Model
from .factory import call_factory, is_factory

if TYPE_CHECKING:
    from .from_onnx.importer import Shapes

_FORMS = "an .onnx file, a .pt2 file, or package.module:function"


def load_model(source: str | Path | Model, shapes: Shapes | None = None) -> Model:
    """Import a network from `source`: an ``.onnx`` or ``.pt2`` file or ``package.module:function``.

    The function takes nothing and returns a `Model`, or a torch module and its example inputs.
    `shapes` fixes the free dimensions of an ONNX file's inputs, by name. A `Model` is given back.
    """
    if isinstance(source, Model):
        return source
    if isinstance(source, str) and is_factory(source) and not os.path.exists(source):
        return _from_factory(source)
    path = Path(source)
    _check_file(path)
    if path.suffix == ".onnx":
        from .from_onnx.importer import from_onnx

        return from_onnx(path, shapes)
    if shapes:
        raise ModelError(f"{path}: shapes are fixed when a .pt2 is exported; export it with others")
    from .from_torch.pt2 import from_pt2

    return from_pt2(path)


def _check_file(path: Path) -> None:
    if os.path.isdir(path):
        raise ModelError(f"{path} is a folder, not a model; give {_FORMS}")
    check_regular(path, ModelError, f"give {_FORMS}", most_bytes=memory_bytes())
    if path.suffix in (".pt", ".pth"):
        raise ModelError(
            f"{path} is a pickle, which can run arbitrary code when it is read; save the network "
            "with torch.export.save(torch.export.export(network.eval(), (example,)), 'network.pt2')"
        )
    if path.suffix not in (".onnx", ".pt2"):
        raise ModelError(f"{path} is not a model file that can be imported; give {_FORMS}")
    if path.stat().st_size == 0:
        raise ModelError(f"{path} is empty; export the network again")


def _from_factory(source: str) -> Model:
    made = call_factory(source, ModelError)
    if isinstance(made, Model):
        return made
    from torch.nn import Module

    if not (isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], Module)):
        raise ModelError(
            f"{source} returned {type(made).__name__}; it must return a Model, or a torch module "
            "and its example inputs"
        )
    from .from_torch.importer import from_torch

    module, example = made
    return from_torch(module, _as_tuple(example), name=source.partition(":")[2])


def _as_tuple(example: Any) -> tuple[Any, ...]:
    return tuple(example) if isinstance(example, tuple | list) else (example,)
