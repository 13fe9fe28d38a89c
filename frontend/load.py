"""One way in for every kind of network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError
from ..ir.model import Model
from .factory import call_factory, is_factory
from .source import Imported

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from .from_onnx.importer import Shapes

_FORMS = "an .onnx file, a .pt2 file, or package.module:function"


def load_model(source: str | Path | Model, shapes: Shapes | None = None) -> Model:
    """Import a network from `source`: an ``.onnx`` or ``.pt2`` file or ``package.module:function``.

    The function takes nothing and returns a `Model`, or a torch module and its example inputs.
    `shapes` fixes the free dimensions of an ONNX file's inputs, by name. A `Model` is given back.
    """
    return import_model(source, shapes).model


def import_model(source: str | Path | Model, shapes: Shapes | None = None) -> Imported:
    """Import a network as `load_model` does, with its source, which can be run beside it."""
    if isinstance(source, Model):
        return Imported(source, None)
    if isinstance(source, str) and is_factory(source) and not Path(source).exists():
        return _from_factory(source)
    path = Path(source)
    _check_file(path)
    if path.suffix == ".onnx":
        return _from_onnx(path, shapes)
    if shapes:
        raise ModelError(f"{path}: shapes are fixed when a .pt2 is exported; export it with others")
    from .from_torch.pt2 import read_program

    return _from_program(read_program(path), path.stem)


def _from_onnx(path: Path, shapes: Shapes | None) -> Imported:
    from .from_onnx.file import read
    from .from_onnx.source import OnnxSource

    source = OnnxSource(read(path), path, shapes)
    return Imported(source.import_(), source)


def _from_program(program: ExportedProgram, name: str) -> Imported:
    from .from_torch.source import TorchSource

    source = TorchSource(program, name)
    return Imported(source.import_(), source)


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise ModelError(f"{path} is a folder, not a model; give {_FORMS}")
    if not path.is_file():
        raise ModelError(f"{path} does not exist; give {_FORMS}")
    if path.suffix in (".pt", ".pth"):
        raise ModelError(
            f"{path} is a pickle, which can run arbitrary code when it is read; save the network "
            "with torch.export.save(torch.export.export(network.eval(), (example,)), 'network.pt2')"
        )
    if path.suffix not in (".onnx", ".pt2"):
        raise ModelError(f"{path} is not a model file that can be imported; give {_FORMS}")
    if path.stat().st_size == 0:
        raise ModelError(f"{path} is empty; export the network again")


def _from_factory(source: str) -> Imported:
    made = call_factory(source, ModelError)
    if isinstance(made, Model):
        return Imported(made, None)
    from torch.nn import Module

    if not (isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], Module)):
        raise ModelError(
            f"{source} returned {type(made).__name__}; it must return a Model, or a torch module "
            "and its example inputs"
        )
    from .from_torch.program import export

    (module, example), name = made, source.partition(":")[2]
    return _from_program(export(module, _as_tuple(example), name), name)


def _as_tuple(example: Any) -> tuple[Any, ...]:
    return tuple(example) if isinstance(example, tuple | list) else (example,)
