"""``.pt2`` files (torch.export), taken apart and checked before torch may read them.

torch.export.load is not safe on a file from outside (torch 2.13): it unpickles weights and
constants whose configuration says ``use_pickle`` and custom objects, falls back from
``weights_only=True`` to an unrestricted pickle for example inputs, gives symbolic shapes to
sympy.sympify (which evaluates code) and imports modules that a pytree names. So each member is
read here, refused unless it is plain data, and a new archive of those members alone is what torch
gets: torch and this code cannot see two different files.
"""

from __future__ import annotations

import io
import json
import logging
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch.export import ExportedProgram

from ...errors import ModelError, UnsupportedOperator
from .free_dimensions import is_plain, is_symbol
from .program import DATA_DEPENDENT, UNBACKED
from .quantized import register_operators

_MODEL = "models/model.json"
_EXAMPLES = "data/sample_inputs/model.pt"
_WEIGHTS = "data/weights/model_weights_config.json"
_CONSTANTS = "data/constants/model_constants_config.json"
_PLAIN = ("archive_format", "archive_version", "byteorder", ".data/version")
_PAYLOAD = re.compile(r"data/(weights/weight|constants/tensor)_\d+")
_OPERATOR = re.compile(
    r"torch\.ops\.aten\.\w+\.\w+|_operator\.getitem"
    r"|_operator\.(eq|ne|le|ge|lt|gt|neg|pos|mul|add|sub|floordiv|mod|truediv)"  # of shapes
    r"|torch\.sym_(max|min|int|float|not|ite)|math\.(ceil|floor|trunc)"
    r"|torch\.ops\.quantized_decomposed\.(de)?quantize_per_(tensor|channel)\.\w+"
)
_PLAIN_KEYS = re.compile(r'null|\[("[^"\\]*"(, )?)*\]')
_CONTAINERS = (None, "builtins.tuple", "builtins.list", "builtins.dict")


def read_program(path: Path) -> ExportedProgram:
    """Read a file that torch.export.save wrote, once nothing in it can run code."""
    members = _read(path)
    try:
        _check_payloads(path, members)
        members[_MODEL] = _check_program(path, members[_MODEL])
    except (
        KeyError, TypeError, AttributeError, IndexError, ValueError, RecursionError
    ) as error:  # fmt: skip
        raise ModelError(f"{path} is damaged; export the network again") from error
    _check_examples(path, members)
    if b"torch.ops.quantized_decomposed" in members[_MODEL]:
        register_operators(str(path))
    archive = _rebuild_archive(members)
    try:
        with _silence_torch():
            return torch.export.load(archive)
    except Exception as error:
        raise ModelError(
            f"{path} cannot be read by torch {torch.__version__}; export it again"
        ) from error


def _read(path: Path) -> dict[str, bytes]:
    """Every member that is wanted, by its name inside the archive's top folder."""
    members: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                name = str(PurePosixPath(*PurePosixPath(entry.filename).parts[1:]))
                if entry.compress_type != zipfile.ZIP_STORED or name in members:
                    raise ModelError(f"{path}: {name} is not as torch writes it; export it again")
                if _is_wanted(path, name):
                    members[name] = archive.read(entry)
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
        raise ModelError(
            f"{path} is not a .pt2 file; save the network with torch.export.save"
        ) from error
    missing = [n for n in (_MODEL, _EXAMPLES, _WEIGHTS, _CONSTANTS) if n not in members]
    if missing:
        raise ModelError(
            f"{path} is not a .pt2 file that holds one network ({missing[0]} is missing); save it "
            f"with torch.export.save of torch {torch.__version__}"
        )
    return members


def _is_wanted(path: Path, name: str) -> bool:
    if name in (_MODEL, _EXAMPLES, _WEIGHTS, _CONSTANTS, *_PLAIN) or _PAYLOAD.fullmatch(name):
        return True
    if name.startswith(("extra/", ".data/")):
        return False
    raise ModelError(
        f"{path}: {name} is not plain data (compiled code, a pickle or a second network), so the "
        "file is not read; save only the network with torch.export.save"
    )


def _check_payloads(path: Path, members: dict[str, bytes]) -> None:
    for config, folder in ((_WEIGHTS, "data/weights/"), (_CONSTANTS, "data/constants/")):
        for name, payload in _json(path, members, config)["config"].items():
            file = folder + payload["path_name"]
            if payload["use_pickle"] or not _PAYLOAD.fullmatch(file) or file not in members:
                raise ModelError(
                    f"{path}: {name} is stored as a pickle, which can run any code when it is "
                    "read; export the network with plain tensors"
                )


def _json(path: Path, members: dict[str, bytes], name: str) -> Any:
    try:
        return json.loads(members[name])
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: {name} is damaged; export the network again") from error


def _check_program(path: Path, text: bytes) -> bytes:
    program = _json(path, {_MODEL: text}, _MODEL)
    _check_symbols(path, program)
    for key, value in _items(program):
        if key in ("as_graph", "as_custom_obj", "as_operator"):
            raise UnsupportedOperator(f"{path}: control flow and custom objects cannot be imported")
        if key in ("in_spec", "out_spec"):
            _check_treespec(path, value)
    for node in program["graph_module"]["graph"]["nodes"]:
        stack = node["metadata"].get("nn_module_stack", "")
        node["metadata"] = {"nn_module_stack": stack} if stack else {}
        if not _OPERATOR.fullmatch(node["target"]):
            raise UnsupportedOperator(
                f"{path}: operator {node['target']} in {_layer(stack)} cannot be imported"
            )
    program["guards_code"] = []
    return json.dumps(program).encode()


def _check_symbols(path: Path, program: Any) -> None:
    """Let through what can be no code alone: torch has sympy evaluate these texts.

    The ranges of expressions are left out, as those of their symbols say the same.
    """
    expressions = [value for key, value in _items(program) if key == "expr_str"]
    ranges = program.get("range_constraints") or {}
    if any(UNBACKED.search(str(text)) for text in (*expressions, *ranges)):
        raise ModelError(f"{path} {DATA_DEPENDENT}")
    program["range_constraints"] = {key: ranges[key] for key in ranges if is_symbol(key)}
    if not all(map(is_plain, expressions)):
        raise ModelError(
            f"{path} has free dimensions that torch.export did not write, which could run code; "
            "export the network again"
        )


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    pending = [value]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            yield from value.items()
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)


def _check_treespec(path: Path, text: str) -> None:
    for key, value in _items(json.loads(text)):
        plain_key = key != "context" or _PLAIN_KEYS.fullmatch(value or "null")
        if (key == "type" and value not in _CONTAINERS) or not plain_key:
            raise ModelError(
                f"{path}: inputs and outputs must be tensors in tuples, lists or dicts; "
                "export a network that takes and gives those"
            )


def _layer(stack: str) -> str:
    """Find the innermost module of an nn_module_stack, ``key,path,type;key,path,type``."""
    path = stack.rpartition(";")[2].split(",")[1:2]
    return f"layer {path[0]!r}" if path and path[0] else "the network itself"


def _check_examples(path: Path, members: dict[str, bytes]) -> None:
    try:
        torch.load(io.BytesIO(members[_EXAMPLES]), weights_only=True)
    except Exception as error:
        raise ModelError(
            f"{path}: its example inputs are a pickle that could run code when read; "
            "export the network with only tensors as example inputs"
        ) from error


def _rebuild_archive(members: dict[str, bytes]) -> io.BytesIO:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(f"network/{name}", content)
    buffer.seek(0)
    return buffer


@contextmanager
def _silence_torch() -> Iterator[None]:
    """Keep torch's logged tracebacks of a refused file off the terminal."""
    logger = logging.getLogger("torch.export")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
