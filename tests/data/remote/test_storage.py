"""Storages: files that are listed and fetched, errors, time limits, attempts."""

from __future__ import annotations

import errno
import sys
import time
from pathlib import Path
from threading import Event, Thread

import fsspec
import pytest

from photo_server import PhotoServer
from tag2mask.data.remote import storage as module
from tag2mask.data.remote.failures import storage_failure
from tag2mask.data.remote.storage import ATTEMPTS, StoppedError, Storage, storage
from tag2mask.errors import DataError, DeviceError, PackageError, StorageError, Tag2MaskError


def fetched(address: str, target: Path) -> bytes:
    storage(address.partition(":")[0]).fetch(address, target, Event())
    return target.read_bytes()


def test_a_file_of_a_web_server(server: PhotoServer, tmp_path: Path) -> None:
    content = bytes(range(256)) * 40_000
    server.files["/a b/ü.jpg"] = content
    assert fetched(f"{server.url}/a b/ü.jpg?v=1", tmp_path / "1") == content
    assert fetched(f"{server.url}/a%20b/%C3%BC.jpg", tmp_path / "2") == content
    assert sum(server.requests.values()) == 2, "one request per file"
    assert "/a%20b/%C3%BC.jpg?v=1" in server.requests


def test_user_and_password_of_an_address(server: PhotoServer, tmp_path: Path) -> None:
    server.files["/a.jpg"] = b"photo"
    server.login = "me:secret"
    address = f"{server.url}/a.jpg".replace("://", "://me:secret@")
    assert fetched(address, tmp_path / "a") == b"photo"
    with pytest.raises(StorageError, match=r"\(401\) \[http://127[^@]*/a\.jpg\]") as found:
        fetched(address.replace("secret", "wrong"), tmp_path / "b")
    assert "wrong" not in str(found.value)


@pytest.mark.parametrize("scheme", ["file", "memory"])
def test_files_of_other_storages(scheme: str, tmp_path: Path) -> None:
    base = f"{scheme}://{tmp_path if scheme == 'file' else '/bucket'}"
    with fsspec.open(f"{base}/in/a.jpg", "wb", auto_mkdir=True) as file:
        file.write(b"photo")
    assert fetched(f"{base}/in/a.jpg", tmp_path / "out") == b"photo"
    with pytest.raises(DataError, match=r"no such photo \(404\).*none\.jpg"):
        fetched(f"{base}/in/none.jpg", tmp_path / "none")


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (404, DataError, r"the storage has no such photo \(404\) \[http.*/a\.jpg\]\. Check"),
        (410, DataError, r"no such photo \(410\)"),
        (403, StorageError, r"denies access to the photo \(403\).*sign it again.*resumes"),
        (401, StorageError, r"denies access to the photo \(401\)"),
        (400, StorageError, r"the storage answers 400; tried once"),
    ],
)
def test_refusals_are_reported_at_once(
    server: PhotoServer, tmp_path: Path, status: int, kind: type[Tag2MaskError], message: str
) -> None:
    server.answers["/a.jpg"] = [status]
    with pytest.raises(kind, match=message) as found:
        fetched(f"{server.url}/a.jpg?Signature=secret", tmp_path / "a")
    assert "secret" not in str(found.value) and "\n" not in str(found.value)
    assert sum(server.requests.values()) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_storage_that_fails_for_a_moment(
    server: PhotoServer, tmp_path: Path, status: int
) -> None:
    server.files["/a.jpg"] = b"photo"
    server.answers["/a.jpg"] = [status] * (ATTEMPTS - 1) + [200]
    assert fetched(f"{server.url}/a.jpg", tmp_path / "a") == b"photo"
    server.answers["/a.jpg"] = [status]
    server.requests.clear()
    with pytest.raises(StorageError, match=f"answers {status}; tried {ATTEMPTS} times"):
        fetched(f"{server.url}/a.jpg", tmp_path / "a")
    assert server.requests["/a.jpg"] == ATTEMPTS


def test_a_storage_that_does_not_answer_in_time(server: PhotoServer, tmp_path: Path) -> None:
    server.seconds["/a.jpg"] = 1.5
    begun = time.monotonic()
    with pytest.raises(StorageError, match=rf"too slow.*tried {ATTEMPTS} times, with up to 0\.4 s"):
        fetched(f"{server.url}/a.jpg", tmp_path / "a")
    assert time.monotonic() - begun < 1.5 * ATTEMPTS
    assert server.requests["/a.jpg"] == ATTEMPTS


def test_a_file_that_never_ends(
    server: PhotoServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FILE_SECONDS", 0.1)
    monkeypatch.setattr(module, "STALL_SECONDS", 30.0)
    server.seconds["/a.jpg"] = 1.0
    with pytest.raises(StorageError, match="too slow"):
        fetched(f"{server.url}/a.jpg", tmp_path / "a")


def test_a_connection_that_breaks_off(server: PhotoServer, tmp_path: Path) -> None:
    server.files["/a.jpg"] = bytes(1000)
    server.cut_off.add("/a.jpg")
    with pytest.raises(StorageError, match=f"the photo can't be fetched: .*tried {ATTEMPTS} times"):
        fetched(f"{server.url}/a.jpg", tmp_path / "a")


def test_a_server_that_is_not_there(server: PhotoServer, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"can't be fetched: .*127\.0\.0\.1.*the connection"):
        fetched("http://127.0.0.1:1/a.jpg", tmp_path / "a")
    with pytest.raises(StorageError, match=r"the folder can't be fetched: .*127\.0\.0\.1"):
        storage("http").files("http://127.0.0.1:1/a/")


def test_a_fetch_is_stopped(server: PhotoServer, tmp_path: Path) -> None:
    server.seconds["/a.jpg"] = 0.35
    server.answers["/b.jpg"] = [503]
    for name in ("a.jpg", "b.jpg"):  # while it is fetched, and before it is tried again
        stopped, ended = Event(), []

        def fetch(name: str = name, stopped: Event = stopped, ended: list[str] = ended) -> None:
            try:
                storage("http").fetch(f"{server.url}/{name}", tmp_path / name, stopped)
            except StoppedError:
                ended.append(name)

        thread = Thread(target=fetch)
        stopped.set()
        thread.start()
        thread.join(5)
        assert ended == [name]


def test_listed_files(server: PhotoServer) -> None:
    for name in ("/a/1.jpg", "/a/b c/2.jpg", "/a/b c/d/3.txt", "/x.jpg"):
        server.files[name] = b"photo"
    listed = storage("http").files(f"{server.url}/a/")
    assert [file.address.removeprefix(server.url) for file in listed] == [
        "/a/1.jpg",
        "/a/b%20c/2.jpg",
        "/a/b%20c/d/3.txt",
    ]
    assert [file.address for file in storage("http").files(server.url)][-1].endswith("/x.jpg")


def test_folders_inside_folders_that_fail(server: PhotoServer) -> None:
    for name in ("/a/1.jpg", "/a/b/2.jpg", "/a/c/3.jpg"):
        server.files[name] = b"photo"
    server.answers["/a/b/"] = [404]  # a link to nothing
    assert [file.address[-5:] for file in storage("http").files(f"{server.url}/a/")] == [
        "1.jpg",
        "3.jpg",
    ]
    server.answers["/a/b/"] = [500]
    with pytest.raises(StorageError, match=f"the storage answers 500; tried {ATTEMPTS} times"):
        storage("http").files(f"{server.url}/a/")
    server.answers["/a/b/"] = [503, 200]
    assert len(storage("http").files(f"{server.url}/a/")) == 3


def test_listed_versions_change_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "in" / "a.jpg"
    path.parent.mkdir()
    path.write_bytes(b"photo")
    versions = []
    for content in (b"photo", b"other photo"):
        path.write_bytes(content)
        (file,) = storage("file").files(f"file://{path.parent}")
        assert file.address == f"file://{path}"
        versions.append(file.version)
    assert versions[0].startswith("5-") and versions[1].startswith("11-")


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (404, DataError, r"no such folder \(404\)"),
        (403, StorageError, r"denies access to the folder \(403\)"),
        (500, StorageError, "the storage answers 500"),
    ],
)
def test_folders_that_cannot_be_listed(
    server: PhotoServer, answer: int, kind: type[Tag2MaskError], message: str
) -> None:
    server.answers["/a/"] = [answer]
    server.answers["/a"] = [answer]
    with pytest.raises(kind, match=message):
        storage("http").files(f"{server.url}/a/")


@pytest.mark.parametrize(
    ("scheme", "missing"),
    [("s3", "s3fs"), ("gs", "gcsfs"), ("https", "aiohttp"), ("s3", "fsspec")],
)
def test_a_missing_package_is_named(
    scheme: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "fsspec.implementations.http", raising=False)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, scheme, raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(PackageError, match=rf"needs the package {missing}\. Install.* {missing}\."):
        Storage(scheme)


class NoCredentialsError(Exception):
    """Named as botocore's."""


class DefaultCredentialsError(Exception):
    """Named as google.auth's."""


@pytest.mark.parametrize(
    ("error", "address", "kind", "message"),
    [
        (
            NoCredentialsError("Unable to locate credentials"),
            "s3://bucket/a.jpg",
            StorageError,
            r"no valid credentials for s3:// \(Unable to locate credentials\) \[s3://bucket/a.jpg\]"
            r"\. Log in \(`aws configure`.*FSSPEC_S3_ANON",
        ),
        (DefaultCredentialsError("x"), "gs://b/a.jpg", StorageError, "gcloud auth application-d"),
        (PermissionError("Access Denied"), "s3://b/a.jpg", StorageError, r"access.*\(403\).*s3:Ge"),
        (OSError("Forbidden: https://x"), "gs://b/a.jpg", StorageError, r"access.*\(403\).*stora"),
        (FileNotFoundError("bucket"), "s3://b/a.jpg", DataError, r"no such photo \(404\)"),
        (OSError(errno.ENOSPC, "No space"), "s3://b/a", DeviceError, "no space left.*TMPDIR"),
    ],
)
def test_what_errors_mean(
    error: Exception, address: str, kind: type[Tag2MaskError], message: str
) -> None:
    found = storage_failure(error, address, "photo", "tried once")
    assert type(found) is kind
    with pytest.raises(kind, match=message):
        raise found
