"""magika: what kind of file is it? A network over the first and last kilobyte.

The files are those of this machine's Python and system; what they are is told by their suffix.
"""

from __future__ import annotations

import json
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from adaspring.errors import DataError
from adaspring.frontend.data import Dataset
from real.case import Case, Ready
from real.packages import MAGIKA, extract, fetch, read_member

_MODEL = "magika/models/standard_v3_3/"
_END_BYTES, _READ_BYTES, _PADDING = 1024, 4096, 256
_EACH, _FOLDERS = 60, ("/usr/share", "/usr/lib", "/etc")
KINDS = {
    ".py": "python", ".pyc": "pythonbytecode", ".c": "c", ".h": "c", ".js": "javascript",
    ".json": "json", ".html": "html", ".css": "css", ".xml": "xml", ".svg": "svg", ".sh": "shell",
    ".pl": "perl", ".pm": "perl", ".png": "png", ".gif": "gif", ".ttf": "ttf", ".gz": "gzip",
    ".so": "elf", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml", ".md": "markdown",
    ".npz": "npz", ".npy": "npy", ".wav": "wav", ".jpg": "jpeg", ".tcl": "tcl", ".rst": "rst",
}  # fmt: skip


def features(first: bytes, last: bytes) -> np.ndarray:
    """What the network takes (2048,) int32, of a file's first and last 4,096 bytes.

    White space goes before the first and after the last byte that counts; each end is filled up.
    """
    begin, end = first.lstrip()[:_END_BYTES], last.rstrip()[-_END_BYTES:]
    found = np.full(2 * _END_BYTES, _PADDING, np.int32)
    found[: len(begin)] = np.frombuffer(begin, np.uint8)
    found[2 * _END_BYTES - len(end) :] = np.frombuffer(end, np.uint8)
    return found


def prepare(folder: Path) -> Ready:
    """The network, and up to 60 files of each kind."""
    config = json.loads(read_member(fetch(MAGIKA, folder), _MODEL + "config.min.json"))
    number = {name: index for index, name in enumerate(config["target_labels_space"])}
    samples, labels = [], []
    for path in _files():
        with path.open("rb") as file:
            first = file.read(_READ_BYTES)
            file.seek(max(0, path.stat().st_size - _READ_BYTES))
            samples.append(features(first, file.read(_READ_BYTES)))
        labels.append(number[KINDS[path.suffix]])
    if len(samples) < 100:
        raise DataError(f"only {len(samples)} files of known kinds are on this machine; too few")
    data = Dataset(inputs=(np.array(samples),), targets=np.array(labels, np.int64))
    return Ready(extract(MAGIKA, _MODEL + "model.onnx", folder), data, {"bytes": (1, 2048)})


def _files() -> Iterator[Path]:
    """Files of a kilobyte and more that can be read, in a fixed order."""
    left = dict.fromkeys(KINDS, _EACH)
    for folder in (sysconfig.get_paths()["stdlib"], sysconfig.get_paths()["purelib"], *_FOLDERS):
        for path in sorted(Path(folder).rglob("*")):
            if left.get(path.suffix, 0) and path.is_file() and not path.is_symlink():
                try:
                    with path.open("rb") as file:
                        enough = len(file.read(_END_BYTES)) == _END_BYTES
                except OSError:
                    continue
                if enough:
                    left[path.suffix] -= 1
                    yield path


CASES = (
    Case("magika", MAGIKA, "files of this machine, named by their suffix", "top1", 0.01, prepare),
)
