"""`adaspring watch`: see a net adapt to a context that sliders set."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from ..boards.command import announce
from ..shared.answer import AsJson, Verbose
from ..shared.samples import calls, samples_of

_MOST_SAMPLES = 256

LibraryFolder = Annotated[Path, typer.Argument(metavar="LIB", help="The library's folder.")]
DataFile = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="An .npz with arrays under the inputs' names (or x): the net is called on its first "
        f"{_MOST_SAMPLES} samples in turn. A random sample if left out.",
    ),
]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")]
Pace = Annotated[
    float,
    typer.Option(min=0, max=1e6, help="Calls per second at first; the page's slider changes it."),
]


def watch(
    lib: LibraryFolder,
    data: DataFile = None,
    port: Port = 0,
    pace: Pace = 20.0,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> NoReturn:
    """Serve a page on loopback where sliders set the context of a net that runs; Ctrl-C ends it.

    For example:
      adaspring watch net.lib
      adaspring watch net.lib --data held-out.npz --pace 100
    """
    from ...library.loader import load
    from .server import Server
    from .session import Session
    from .settings import Settings

    with load(lib) as library:
        shape, samples = samples_of(library, data, _MOST_SAMPLES if data else None)
        inputs = list(calls(samples, library.manifest.signatures[shape].inputs))
        first = Settings(context={"calls_per_s": pace})
        with closing(Session(library, inputs, first, shape=shape)) as session:
            with Server(session, port) as server:
                record = {"library": str(lib), "address": server.address}
                announce(as_json, record, f"watch {lib} at {server.address}. Ctrl-C ends it.")
                session.start(failed=server.shutdown)
                server.serve_forever()
            if session.failure is not None:
                raise session.failure
    raise KeyboardInterrupt
