"""One way in for every kind of network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError
from ..files.read import check_regular, memory_bytes
from ..ir.model import Model
from .factory import call_factory, is_factory
from .shapes import Shapes, specs_text
from .source import Imported

if TYPE_CHECKING:
    from torch.export import ExportedProgram

_FORMS = "an .onnx file, a .pt2 file, or package.module:function"


def load_model(source: str | Path | Model, shapes: Shapes | None = None) -> Model:
    """Import a network from `source`: an ``.onnx`` or ``.pt2`` file or ``package.module:function``.

    The function takes nothing and returns a `Model`, or a torch module and its example inputs.
    `shapes` fixes the free dimensions of inputs, by name; a module is exported for them. A `Model`
    is given back.
    """
    return import_model(source, shapes).model


def import_model(source: str | Path | Model, shapes: Shapes | None = None) -> Imported:
    """Import a network as `load_model` does, with its source, which can be run beside it."""
    if isinstance(source, Model):
        return _imported(source, shapes)
    if isinstance(source, str) and is_factory(source) and not os.path.exists(source):
        return _from_factory(source, shapes)
    path = Path(source)
    _check_file(path)
    return _from_onnx(path, shapes) if path.suffix == ".onnx" else _from_pt2(path, shapes)


def _imported(model: Model, shapes: Shapes | None) -> Imported:
    """Give a network that is imported already; its shapes are what they are."""
    if any(spec.shape != (shapes or {}).get(spec.name, spec.shape) for spec in model.inputs):
        raise ModelError(
            f"{model.name} is imported at {specs_text(model.inputs)} already; give its file, or "
            "import it with other shapes"
        )
    return Imported(model, None)


def _from_onnx(path: Path, shapes: Shapes | None) -> Imported:
    from .from_onnx.file import read
    from .from_onnx.source import OnnxSource

    source = OnnxSource(read(path), path, shapes)
    return Imported(source.import_(), source)


def _from_pt2(path: Path, shapes: Shapes | None) -> Imported:
    from .from_torch.free_dimensions import fix_shapes, is_free
    from .from_torch.pt2 import read_program

    program = read_program(path)
    if shapes and not is_free(program):
        raise ModelError(
            f"{path}: shapes are fixed when a .pt2 is exported, unless it is exported with "
            "dynamic_shapes"
        )
    return _from_program(fix_shapes(program, shapes, str(path)) if shapes else program, path.stem)


def _from_program(program: ExportedProgram, name: str) -> Imported:
    from .from_torch.source import TorchSource

    source = TorchSource(program, name)
    return Imported(source.import_(), source)


def _check_file(path: Path) -> None:
    if os.path.isdir(path):
        raise ModelError(f"{path} is a folder, not a model; give {_FORMS}")
    check_regular(path, ModelError, f"give {_FORMS}", most_bytes=memory_bytes())
    if path.suffix in (".pt", ".pth"):
        raise ModelError(
            f"{path} is a pickle, which can run arbitrary code when it is read; save the network "
            "with torch.export.save(torch.export.export(network.eval(), (example,)), 'network.pt2')"
        )
    if path.suffix == ".tflite":
        onnx = path.with_suffix(".onnx")
        raise ModelError(
            f"{path} is a TensorFlow Lite model; convert it with pip install tf2onnx tensorflow && "
            f"python -m tf2onnx.convert --tflite {path} --output {onnx}"
        )
    if path.suffix not in (".onnx", ".pt2"):
        raise ModelError(f"{path} is not a model file that can be imported; give {_FORMS}")
    if path.stat().st_size == 0:
        raise ModelError(f"{path} is empty; export the network again")


def _from_factory(source: str, shapes: Shapes | None) -> Imported:
    made = call_factory(source, ModelError)
    if isinstance(made, Model):
        return _imported(made, shapes)
    from torch.nn import Module

    if not (isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], Module)):
        raise ModelError(
            f"{source} returned {type(made).__name__}; it must return a Model, or a torch module "
            "and its example inputs"
        )
    from .from_torch.program import export, with_shapes

    (module, example), name = made, source.partition(":")[2]
    inputs = _as_tuple(example)
    program = export(module, inputs, name)
    if shapes:
        program = export(module, with_shapes(program, inputs, shapes, name), name)
    return _from_program(program, name)


def _as_tuple(example: Any) -> tuple[Any, ...]:
    return tuple(example) if isinstance(example, tuple | list) else (example,)
