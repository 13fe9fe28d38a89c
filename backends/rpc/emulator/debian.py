"""Fetches and unpacks Debian packages: a private APT configuration, no root, nothing installed.

The packages come from where this system's own do, for its architecture and for arm64; APT checks
their signatures as ever.
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

from ....errors import BoardError

_ARM = "arm64"
_UPDATE_S, _DOWNLOAD_S = 300, 600
# What an interpreter without a system around it never reads.
_LEFT_OUT = ("usr/share/", "usr/lib/aarch64-linux-gnu/gconv/", "etc/", "var/")


class Debian:
    """APT with all that it writes below `folder`."""

    def __init__(self, folder: Path) -> None:
        for tool in ("apt-get", "dpkg", "dpkg-deb"):
            if shutil.which(tool) is None:
                raise BoardError(
                    f"{tool} is not installed; boards can be emulated only on Debian and its "
                    "derivatives"
                )
        self._folder = folder.resolve()
        for name in ("lists/partial", "cache/archives/partial", "log"):
            (self._folder / name).mkdir(parents=True)
        (self._folder / "status").touch()
        self._configuration = self._folder / "apt.conf"
        self._configuration.write_text(self._settings())
        self._run(["apt-get", "update", "-qq"], "the package lists", _UPDATE_S)

    def _settings(self) -> str:
        here = self._run(["dpkg", "--print-architecture"], "this system's architecture", 10).strip()
        architectures = dict.fromkeys((here, _ARM))
        return "\n".join(
            (
                f'APT::Architecture "{here}";',
                "#clear APT::Architectures;",
                *(f'APT::Architectures:: "{name}";' for name in architectures),
                "#clear APT::Update;",  # the system's hooks are about the system's own cache
                "#clear DPkg;",
                'APT::Sandbox::User "root";',  # APT's own user may not write here
                'APT::Install-Recommends "false";',
                'Acquire::Languages "none";',
                'Acquire::Retries "2";',
                f'Dir::State "{self._folder}";',
                f'Dir::State::lists "{self._folder}/lists";',
                f'Dir::State::status "{self._folder}/status";',
                f'Dir::Cache "{self._folder}/cache";',
                f'Dir::Log "{self._folder}/log";',
            )
        )

    def fetch_arm(self, packages: Sequence[str]) -> list[Path]:
        """Fetch arm64 packages with all that they depend on."""
        wanted = [f"{name}:{_ARM}" for name in packages]
        self._run(
            ["apt-get", "install", "-qq", "-y", "--download-only", *wanted],
            f"{', '.join(packages)} for {_ARM}",
            _DOWNLOAD_S,
        )
        return sorted((self._folder / "cache/archives").glob(f"*_{_ARM}.deb"))

    def fetch_here(self, package: str) -> Path:
        """Fetch one package for this machine, without what it depends on."""
        self._run(["apt-get", "download", "-qq", package], package, _DOWNLOAD_S)
        return next(self._folder.glob(f"{package}_*.deb"))

    def _run(self, command: list[str], what: str, limit_s: int) -> str:
        if command[0] == "apt-get":
            command = [command[0], "-c", str(self._configuration), *command[1:]]
        try:
            done = subprocess.run(
                command,
                cwd=self._folder,
                capture_output=True,
                text=True,
                timeout=limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise BoardError(
                f"{command[0]} timed out after {limit_s} s fetching {what}; check the network"
            ) from error
        if done.returncode:
            raise BoardError(f"{command[0]} could not fetch {what}: {_reason(done.stderr)}")
        return done.stdout


def unpack(package: Path, root: Path, only: Sequence[str] = ()) -> list[Path]:
    """Unpack a package's files (`only` those, where given) below `root`; those that were there."""
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE
    ) as process:
        found = []
        with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                if (only and name not in only) or name.startswith(_LEFT_OUT):
                    continue
                _extract(archive, member, root, root / name)
                found.append(root / name)
    if process.returncode:
        raise BoardError(f"dpkg-deb could not unpack {package.name}; free some space, try again")
    return found


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, root: Path, path: Path) -> None:
    """Write one member. The standard library's way differs between the Pythons of Debian."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if member.isdir():
        path.mkdir(exist_ok=True)
    elif member.issym():
        path.symlink_to(member.linkname)
    elif member.islnk():
        path.hardlink_to(root / member.linkname)
    elif (source := archive.extractfile(member)) is not None:
        with source, path.open("wb") as target:
            shutil.copyfileobj(source, target)
        path.chmod(member.mode)


def _reason(stderr: str) -> str:
    """The first complaint of APT."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    complaints = [line for line in lines if line.startswith("E:")]
    return (complaints or lines or ["it gave no reason"])[0].removeprefix("E: ")
