"""The child process that compiles CUDA, where a stand-in may take the driver's place.

`python -m adaspring.backends.codegen.cuda_child` reads one request of `cuda.compile_library` from
its standard input and writes the library; where that fails, standard error ends in one line.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from ...errors import AdaspringError
from . import cuda_compiler
from .link import linker


def main() -> None:
    """Serve the request on standard input."""
    request = json.load(sys.stdin)
    try:
        compile_request(request)
    except AdaspringError as error:
        sys.exit(str(error))
    except (RuntimeError, ValueError, OSError) as error:
        sys.exit(str(error).strip().splitlines()[-1])


def compile_request(request: dict[str, Any]) -> None:
    """Compile the request's module and link it."""
    import tvm
    from tvm import relax

    from . import tir_pipeline

    target = tvm.target.Target(request["target"])
    cuda_compiler.start(str(request["target"]["arch"]))
    with target:
        module = tvm.ir.load_json(request["module"])
        executable = relax.build(
            module, target, relax_pipeline=None, tir_pipeline=tir_pipeline.register()
        )
    executable.export_library(request["code"], fcompile=linker(request["architecture"]))


if __name__ == "__main__":
    main()
