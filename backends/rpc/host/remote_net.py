"""Compiled networks on a board, within one session: weights uploaded once, run and timed."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ....library.tensors import machine_words
from ..description import RUN_CHAIN_FUNCTION, TIME_CHAIN_FUNCTION

_CHUNK_S = 2.0  # after so long a board tells what it has, and goes on


class RemoteNets:
    """Networks by name. `session` brings files onto the board and loads code there.

    Equal weights of several networks are uploaded once, and are in the board's memory once.
    """

    def __init__(self, session: Any) -> None:
        self._remote = session.remote
        self._session = session
        self._machines: dict[str, Any] = {}
        self._weights: dict[str, Any] = {}
        self._uploaded: set[str] = set()

    def load(self, name: str, code: str, weights: str) -> None:
        """Load one network: its shared library, and the .npz of its weights in order."""
        with np.load(weights, allow_pickle=False) as data:
            keys = [self._upload(data[f"w{i}"]) for i in range(len(data.files))]
        array = self._function("vm.builtin.param_array_from_cache_by_name_unpacked")
        self._weights[name] = array(*keys)
        machine = self._session.load(code)["vm_load_executable"]()
        machine["vm_initialization"](*machine_words(self._session.place))
        self._machines[name] = machine

    def run(self, name: str, inputs: str, outputs: str, step: Callable[[], None]) -> None:
        """Run on every sample of an .npz (x0, x1 …, samples first); write y0, y1 … likewise.

        `step` is called after each sample.
        """
        with np.load(inputs, allow_pickle=False) as data:
            arrays = [data[f"x{i}"] for i in range(len(data.files))]
        runs = []
        for sample in zip(*arrays, strict=True):
            runs.append(self._call(name, sample))
            step()
        found = {f"y{i}": np.stack(column) for i, column in enumerate(zip(*runs, strict=True))}
        np.savez(outputs, **found)  # type: ignore[arg-type]

    def run_chain(
        self, names: Sequence[str], inputs: str, outputs: str, count: int, step: Callable[[], None]
    ) -> None:
        """Run networks one after the other, each on what the one before gives, as `run` does one.

        Only the first `count` samples are run. The samples are brought over once, and stay there;
        so does what crosses. `step` is called every two seconds.
        """
        run, file = self._chained(RUN_CHAIN_FUNCTION), self._bring(inputs)
        parts, chunks, done = self._parts(names), list[dict[str, np.ndarray]](), 0
        while done < count:
            answer = run(file, done, count, _CHUNK_S, *parts)
            with np.load(io.BytesIO(bytes(answer)), allow_pickle=False) as data:
                chunks.append(dict(data))
            done += len(chunks[-1]["y0"])
            step()
        found = {key: np.concatenate([chunk[key] for chunk in chunks]) for key in chunks[0]}
        np.savez(outputs, **found)  # type: ignore[arg-type]

    def time_chain(
        self, names: Sequence[str], inputs: str, calls_count: int, warm_s: float, apart_s: float
    ) -> list[float]:
        """Milliseconds of single calls of such networks on the first sample, by the board's clock.

        The calls between networks are the board's own, as an app makes them. The calls that are
        timed come after `warm_s` of others, `apart_s` after each other.
        """
        timed = self._chained(TIME_CHAIN_FUNCTION)
        file, parts = self._bring(inputs), self._parts(names)
        return [float(ms) for ms in json.loads(timed(file, calls_count, warm_s, apart_s, *parts))]

    def _parts(self, names: Sequence[str]) -> list[Any]:
        return [part for name in names for part in (self._machines[name], self._weights[name])]

    def _chained(self, name: str) -> Any:
        try:
            return self._function(name)
        except AttributeError:
            raise RuntimeError("it serves an older adaspring; install this one there") from None

    def _bring(self, path: str) -> str:
        """Bring a file of samples over, unless it is there; its name on the board."""
        name = Path(path).name
        if name not in self._uploaded:
            self._remote.upload(bytearray(Path(path).read_bytes()), name)
            self._uploaded.add(name)
        return name

    def _call(self, name: str, sample: Sequence[np.ndarray]) -> list[np.ndarray]:
        import tvm

        machine = self._machines[name]
        tensors = [tvm.runtime.tensor(array, self._session.device) for array in sample]
        machine["set_input"]("main", *tensors, self._weights[name])
        machine["invoke_stateful"]("main")
        count = machine["get_output_arity"]("main")
        if count < 0:  # not a tuple
            return [machine["get_output"]("main").numpy()]
        return [machine["get_output"]("main", index).numpy() for index in range(count)]

    def _upload(self, array: np.ndarray) -> str:
        """Upload one tensor into the board's cache, unless it is there; return its key.

        A tensor that is sent as an argument is only lent for the call, so it goes as a file.
        """
        array = np.asarray(array, order="C")  # a scalar stays one
        head = f"{array.dtype} {array.shape}".encode()
        key = hashlib.sha256(head + array.tobytes()).hexdigest()
        if key not in self._uploaded:
            self._remote.upload(bytearray(array.tobytes()), f"{key}.bin")
            cache = bytearray(json.dumps(_cache_of(key, array)).encode())
            self._remote.upload(cache, "tensor-cache.json")
            self._function("vm.builtin.tensor_cache.load")(
                self._function("tvm.rpc.server.workpath")("."), *self._session.place
            )
            self._remote.remove(f"{key}.bin")
            self._uploaded.add(key)
        return key

    def _function(self, name: str) -> Any:
        return self._remote.get_function(name)


def _cache_of(key: str, array: np.ndarray) -> Mapping[str, object]:
    """What TVM's tensor cache reads of one raw tensor."""
    tensor = {
        "name": key,
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "format": "raw",
        "nbytes": array.nbytes,
        "byteOffset": 0,
    }
    file = {"dataPath": f"{key}.bin", "format": "raw-shard", "nbytes": array.nbytes}
    return {"metadata": {}, "records": [{**file, "records": [tensor]}]}
