"""`python -m adaspring.backends.rpc.host.session_worker`: the process that holds a session.

It reads one JSON request a line on stdin and answers each with one line on stdout, so that a crash
of TVM's client, or a board that never answers, costs this process and not the tuner. It loads
TVM's runtime alone, and ends when its parent does, in the middle of a call too.

A request is [NAME, ARGUMENT …]; an answer is {"ok": RESULT}, or {"fault": TEXT, "over": whether
the session is over or still works}. Before it there may be lines {"step": …}: work goes on.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from typing import Any

# The package's own tvm_ffi comes first: imported by tvm, it would bring torch along.
from ....library.native.ffi import tvm_ffi
from ....library.tensors import DEVICES
from ...candidate_worker import TIMING
from ..description import INFO_FUNCTION

os.environ["TVM_USE_RUNTIME_LIB"] = "1"

Arguments = list[tuple[list[int], str]]
_PREAMBLE, _LONGEST_TEXT = "RPCError: Error caught from RPC call:", 300
_FILL = "tvm.contrib.random.random_fill_for_measure"


class HostSession:
    """One session with one board."""

    def __init__(self, host: str, port: int, match_key: str, session_s: float, device: str) -> None:
        import tvm.rpc

        self.remote = tvm.rpc.connect(host, port, match_key, session_timeout=session_s)
        self.place = DEVICES[device]
        self.device = self.remote.device(device)
        self._arguments: Arguments = []
        self._tensors: list[Any] = []
        self._loaded_count = 0

    def info(self) -> str:
        """What the board says of itself, as JSON."""
        return str(self.remote.get_function(INFO_FUNCTION)())

    def works(self) -> bool:
        """Whether the board still answers in this session."""
        try:
            self.remote.get_function("runtime.NumThreads")()
        except (RuntimeError, tvm_ffi.core.Error):
            return False
        return True

    def load(self, code: str) -> Any:
        """Upload a shared library to the board, under a unique name, and load it."""
        name = f"{self._loaded_count}.so"
        self._loaded_count += 1
        self.remote.upload(code, name)
        module = self.remote.load_module(name)
        self.remote.remove(name)
        return module

    def time(self, code: str, arguments: Arguments) -> list[float]:
        """Seconds of one call of a candidate, several times over, by the board's clock."""
        module = self.load(code)
        if arguments != self._arguments:
            self._tensors = [self._random_tensor(shape, dtype) for shape, dtype in arguments]
            self._arguments = arguments
        timer = module.time_evaluator("main", self.device, **TIMING)
        return [float(second) for second in timer(*self._tensors).results]

    def _random_tensor(self, shape: list[int], dtype: str) -> Any:
        """A tensor of random values, made on the board: nothing but code goes over the network."""
        import tvm

        tensor = tvm.runtime.empty(shape, dtype, self.device)
        self.remote.get_function(_FILL)(tensor)
        return tensor


class RequestHandler:
    """Carries out requests, each by the method of its name. `say` writes one line of output."""

    def __init__(self, say: Callable[[dict[str, Any]], None]) -> None:
        self._say = say
        self._session: Any = None
        self._nets: Any = None

    def answer(self, request: list[Any]) -> dict[str, Any]:
        """Do what is asked; whatever is raised is told."""
        name, *arguments = request
        try:
            return {"ok": getattr(self, name)(*arguments)}
        except Exception as error:
            text = _one_line(str(error)) or type(error).__name__
            over = self._session is None or not self._session.works()
        if over:
            self.close()
        return {"fault": text, "over": over}

    def open(self, host: str, port: int, match_key: str, session_s: float, device: str) -> str:
        """Begin a session with a board that computes on a device."""
        from .remote_net import RemoteNets

        self._session = HostSession(host, port, match_key, session_s, device)
        self._nets = RemoteNets(self._session)
        return self._session.info()

    def close(self) -> None:
        """Give the board back: a tensor or a module that is kept alive would hold it."""
        self._session = self._nets = None

    def time(self, code: str, arguments: Arguments) -> list[float]:
        """Time a candidate."""
        return self._session.time(code, arguments)

    def load_net(self, name: str, code: str, weights: str) -> None:
        """Load a network."""
        self._nets.load(name, code, weights)

    def run_net(self, name: str, inputs: str, outputs: str) -> None:
        """Run a network on all samples; each is a step."""
        self._nets.run(name, inputs, outputs, lambda: self._say({"step": name}))

    def run_chain(self, names: list[str], inputs: str, outputs: str, count: int) -> None:
        """Run networks one after the other on samples; every two seconds are a step."""
        step = {"step": names}
        self._nets.run_chain(names, inputs, outputs, count, lambda: self._say(step))

    def time_chain(
        self, names: list[str], inputs: str, calls_count: int, warm_s: float, apart_s: float
    ) -> list[float]:
        """Time networks one after the other."""
        return self._nets.time_chain(names, inputs, calls_count, warm_s, apart_s)


def _one_line(text: str) -> str:
    return " ".join(text.replace(_PREAMBLE, "").split())[:_LONGEST_TEXT]


def main() -> None:
    """Answer until stdin ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what TVM prints is no answer
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests,), daemon=True).start()

    def say(line: dict[str, Any]) -> None:
        answers.write(json.dumps(line) + "\n")
        answers.flush()

    handler = RequestHandler(say)
    while True:
        say(handler.answer(json.loads(requests.get())))


def _read(requests: queue.SimpleQueue[str]) -> None:
    """Pass on what the parent asks, and end with it: a call that is under way waits for a board."""
    for line in sys.stdin:
        requests.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
