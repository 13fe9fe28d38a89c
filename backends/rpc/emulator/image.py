"""The files of the emulated board: an aarch64 Python with TVM's runtime, and what runs it.

    FOLDER/aarch64-tvm0.27.0.post1-ffi0.1.14.post1-1/
        qemu            runs programs of aarch64 on this machine, one process at a time
        root/           C library, Python and its standard library, from Debian's arm64 packages
        site/           wheels, without the compiler

The folder's name says what is in it, so it is built once and never changed: under another name,
then renamed.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from ....errors import BoardError
from ....targets.machine import cache_folder
from .debian import Debian, unpack
from .wheels import PINNED, fetch_wheels, unpack_wheel

_LAYOUT = 1  # to be raised when what is built changes
_BUILDING = ".building-"
_ARM_PACKAGES = ("python3-minimal", "libpython3-stdlib", "libstdc++6")
# In Debian 12 the first is the emulator; in Debian 13 it only depends on the second.
_EMULATOR_PACKAGES = ("qemu-user-static", "qemu-user")
_EMULATORS = ("usr/bin/qemu-aarch64-static", "usr/bin/qemu-aarch64")
_LEAST_PYTHON = (3, 11)


@dataclass(frozen=True)
class Image:
    """A board's files, complete."""

    folder: Path

    @property
    def emulator(self) -> Path:
        """The emulator of aarch64 processes."""
        return self.folder / "qemu"

    @property
    def root(self) -> Path:
        """Where the emulated programs look first for a file."""
        return self.folder / "root"

    @property
    def site(self) -> Path:
        """The board's Python packages."""
        return self.folder / "site"

    @property
    def python(self) -> Path:
        """The board's interpreter."""
        return _python(self.root)


def default_folder() -> Path:
    """Where images are kept, in the user's cache folder."""
    return cache_folder() / "boards"


def image(folder: Path, building: Callable[[str], None] = lambda step: None) -> Image:
    """Return the image for the installed TVM, built in `folder` where it is not there yet.

    `building` hears of each step; not called where nothing is to be built.

    Raises:
        BoardError: a tool is missing, or something could not be fetched.

    """
    versions = [version(name) for name in PINNED]
    wanted = folder / "aarch64-tvm{}-ffi{}-{}".format(*versions, _LAYOUT)
    if wanted.is_dir():
        return Image(wanted)
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        if not wanted.is_dir():
            for left in folder.glob(f"{_BUILDING}*"):  # whoever built there was killed
                shutil.rmtree(left)
            with tempfile.TemporaryDirectory(dir=folder, prefix=_BUILDING) as work:
                _build(Path(work), building).rename(wanted)
    return Image(wanted)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait for who else builds here."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(work: Path, building: Callable[[str], None]) -> Path:
    made = work / "image"
    root, site = made / "root", made / "site"
    (root / "usr/lib").mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")  # some packages say /lib, some /usr/lib
    building("reading Debian's package lists")
    debian = Debian(work / "apt")
    building("fetching the emulator")
    _emulator(debian, work).rename(made / "qemu")
    building("fetching Python for arm64")
    for package in debian.fetch_arm(_ARM_PACKAGES):
        unpack(package, root)
    name = _python(root).name.removeprefix("python")
    if tuple(map(int, name.split("."))) < _LEAST_PYTHON:
        raise BoardError(f"this system's Python for arm64 is {name}; the board needs 3.11 or later")
    building("fetching TVM's runtime for aarch64")
    for wheel in fetch_wheels(work / "wheels", name):
        unpack_wheel(wheel, site)
    return made


def _emulator(debian: Debian, work: Path) -> Path:
    for package in _EMULATOR_PACKAGES:
        found = unpack(debian.fetch_here(package), work / package, _EMULATORS)
        for path in found:
            if path.is_file() and not path.is_symlink():
                return path
    raise BoardError(f"none of {', '.join(_EMULATOR_PACKAGES)} holds an aarch64 emulator")


def _python(root: Path) -> Path:
    found = [p for p in (root / "usr/bin").glob("python3.*") if p.name[8:].isdecimal()]
    if len(found) != 1:
        raise BoardError(
            f"{root} holds {len(found)} Pythons; remove the folder, and it will be rebuilt"
        )
    return found[0]
