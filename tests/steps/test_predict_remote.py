"""Step predict with photos in storages: masks, resuming, changes, errors, interrupts."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from PIL import Image

from local_segmenter import LocalSegmenter, colorful
from onnx_file import write_network
from photo_server import PhotoServer
from small_runs import end_of, interrupt_when, invoke, kill_when
from small_runs import start as start_command
from tag2mask.artifacts.handles import Predictions
from tag2mask.data.photo_files import list_photos
from tag2mask.data.remote.listing import list_given_photos
from tag2mask.errors import StorageError
from tag2mask.recipe.sections import Predict
from tag2mask.steps.photo_loops import per_photo
from tag2mask.steps.predict import predict

COUNT = 12


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Photos of several sizes in folders."""
    root = tmp_path / "photos"
    for number in range(COUNT):
        path = root / "ab"[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(colorful(40 + 8 * number, 64, number)).save(path)
    return root


def serve(server: PhotoServer, photos: Path) -> list[str]:
    """Put the photos on the server, and return their addresses."""
    names = [path.relative_to(photos).as_posix() for path in sorted(photos.rglob("*.png"))]
    server.files |= {f"/in/{name}": (photos / name).read_bytes() for name in names}
    return [f"{server.url}/in/{name}" for name in names]


@pytest.fixture
def bucket(photos: Path) -> Iterator[str]:
    """The photos in a storage in memory."""
    files = fsspec.filesystem("memory")
    for path in photos.rglob("*.png"):
        files.pipe(f"/bucket/{path.relative_to(photos).as_posix()}", path.read_bytes())
    yield "memory://bucket"
    files.store.clear()
    files.pseudo_dirs[:] = [""]


def predicted(
    given: list[str], out: Path, segmenter: LocalSegmenter | None = None, **settings: Any
) -> Predictions:
    photos = list_given_photos(given, leave_out=out)
    return predict(photos, segmenter or LocalSegmenter(), Predict(**settings), out, model="local")


def masks(made: Predictions | Path) -> dict[str, bytes]:
    root = (made if isinstance(made, Path) else made.path) / "masks"
    return {
        path.relative_to(root).with_suffix("").as_posix(): path.read_bytes()
        for path in root.rglob("*.png")
        if not path.name.startswith(".tmp-")
    }


def temporary_folders(folder: Path) -> list[Path]:
    return list(folder.glob("tag2mask-*"))


def test_masks_are_those_of_the_same_photos_here(
    server: PhotoServer, photos: Path, bucket: str, tmp_path: Path
) -> None:
    expected = masks(predicted([str(photos)], tmp_path / "here", overlays=True))
    assert len(expected) == COUNT
    addresses = serve(server, photos)
    given = {
        "list": addresses,
        "folder": [f"{server.url}/in/"],
        "pattern": [f"{server.url}/in/**/*.png"],
        "memory": [bucket],
        "file": [f"file://{photos}"],
    }
    for name, ways in given.items():
        made = predicted(ways, tmp_path / name, overlays=True)
        assert masks(made) == expected, name
        assert made.manifest.counts == {"photos": COUNT, "computed": COUNT}


def test_large_photos_are_fetched_again_at_the_end(
    server: PhotoServer, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = masks(predicted([str(photos)], tmp_path / "here"))
    addresses = serve(server, photos)
    monkeypatch.setattr(per_photo, "LARGE_PIXELS", 80 * 64)
    assert masks(predicted(addresses, tmp_path / "out")) == expected
    requests = server.requests.values()
    assert set(requests) == {1, 2} and sum(requests) == 2 * COUNT - 6


def test_labeled_photos_are_not_fetched_again(
    server: PhotoServer, photos: Path, tmp_path: Path
) -> None:
    addresses = serve(server, photos)
    made = predicted(addresses[3:9], tmp_path / "out")
    before = masks(made)
    server.requests.clear()
    again = predicted([f"{address}?Signature=new" for address in addresses], tmp_path / "out")
    assert again.manifest.counts == {"photos": COUNT, "computed": COUNT - 6}
    assert sum(server.requests.values()) == COUNT - 6
    assert before.items() <= masks(again).items()
    server.requests.clear()
    predicted(addresses, tmp_path / "out")
    assert not server.requests
    next(iter((tmp_path / "out" / "masks").rglob("*.png"))).unlink()
    assert predicted(addresses, tmp_path / "out").manifest.counts["computed"] == 1
    assert sum(server.requests.values()) == 1


def test_changed_photos_of_a_folder_are_labeled_again(bucket: str, tmp_path: Path) -> None:
    predicted([bucket], tmp_path / "out")
    assert predicted([bucket], tmp_path / "out").manifest.counts["computed"] == COUNT
    data = io.BytesIO()
    Image.fromarray(colorful(50, 60, 99)).save(data, "PNG")
    fsspec.filesystem("memory").pipe("/bucket/a/00.png", data.getvalue())
    again = predicted([bucket], tmp_path / "out")
    assert again.manifest.counts == {"photos": COUNT, "computed": 1}
    with Image.open(tmp_path / "out" / "masks" / "a" / "00.png") as mask:
        assert mask.size == (60, 50)


def test_bad_photos_are_listed_and_the_others_labeled(
    server: PhotoServer, photos: Path, tmp_path: Path
) -> None:
    addresses = serve(server, photos)
    server.files["/in/a/00.png"] = server.files["/in/a/00.png"][:200]
    del server.files["/in/b/01.png"]
    server.answers["/in/a/02.png"] = [403]
    server.seconds["/in/b/03.png"] = 0.6
    made = predicted(addresses, tmp_path / "out")
    told = dict(line.split(": ", 1) for line in made.manifest.skipped)
    assert set(told) == {"a/00", "b/01", "a/02", "b/03"}
    assert "can't be read" in told["a/00"] and "no such photo (404)" in told["b/01"]
    assert "denies access" in told["a/02"] and "too slow" in told["b/03"]
    assert made.manifest.counts == {"photos": COUNT - 4, "computed": COUNT - 4}
    server.answers.clear()
    server.seconds.clear()
    later = predicted(addresses, tmp_path / "out")
    assert later.manifest.counts == {"photos": COUNT - 2, "computed": 2}


def test_a_storage_that_fails_ends_the_step_which_resumes(
    server: PhotoServer, photos: Path, tmp_path: Path
) -> None:
    addresses = serve(server, photos)
    expected = masks(predicted([str(photos)], tmp_path / "here"))
    refused = [address.removeprefix(server.url) for address in addresses[4:]]
    server.answers |= {key: [403] for key in refused}
    with pytest.raises(StorageError, match=r"denies access.*run the same command again"):
        predicted(addresses, tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert masks(tmp_path / "out").items() <= expected.items()
    server.answers.clear()
    assert masks(predicted(addresses, tmp_path / "out")) == expected


# The command.

ONE_THREAD = ("--set", "runtime.device=cpu", "--set", "runtime.threads=1")


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return write_network(tmp_path / "net.onnx")


def test_the_command(server: PhotoServer, photos: Path, network: Path, tmp_path: Path) -> None:
    addresses = serve(server, photos)
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(addresses))
    out = tmp_path / "out"
    rest = ("--model", network, *ONE_THREAD)
    done = invoke("predict", "--list", listed, "--out", out, *rest)
    assert done.exit_code == 0, done.stderr
    assert f"predict: {out} ({COUNT} photos, {COUNT} computed)" in done.stdout
    here = invoke("predict", photos, "--out", tmp_path / "here", *rest)
    assert here.exit_code == 0 and masks(tmp_path / "here") == masks(out)
    folder = invoke("predict", f"{server.url}/in/", "--out", tmp_path / "folder", *rest)
    assert folder.exit_code == 0 and masks(tmp_path / "folder") == masks(out)
    del server.files["/in/a/00.png"]
    (out / "masks" / "a" / "00.png").unlink()
    left = invoke("predict", "--list", listed, "--out", out, *rest)
    assert left.exit_code == 3
    assert "left out: a/00: the storage has no such photo (404)" in left.stderr


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{url}/denied.png", "the storage denies access to the photo (403) [{url}/denied.png]."),
        ("{url}/none/", "the storage has no such folder (404) [{url}/none/]. Check the address."),
        ("{url}/empty/", "no photo at this address [{url}/empty/]. Photos are files named"),
        ("http://127.0.0.1:1/a.png", "the photo can't be fetched: "),
        ("ftp://host/a.png", "no storage of the kind ftp:// can be read"),
    ],
)
def test_errors_are_one_line_and_write_nothing_finished(
    server: PhotoServer, network: Path, tmp_path: Path, given: str, message: str
) -> None:
    server.answers["/denied.png"] = [403]
    server.files["/empty/notes.txt"] = b"none"
    out = tmp_path / "out"
    done = invoke(
        "predict", given.format(url=server.url), "--model", network, "--out", out, *ONE_THREAD
    )
    assert done.exit_code == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and message.format(url=server.url) in lines[0], done.stderr
    assert "Traceback" not in done.stderr and not (out / "manifest.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name photos, folders, patterns or a --list"),
        (("s3://bucket/in", "--watch"), "folders on this computer only"),
    ],
)
def test_wrong_command_lines(
    network: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = invoke("predict", *arguments, "--model", network, "--out", tmp_path / "out")
    assert done.exit_code == 2 and message in " ".join(done.stderr.replace("│", " ").split())


def test_masks_are_written_to_this_computer(
    photos: Path, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = invoke("predict", photos, "--model", network, "--out", "s3://bucket/out")
    assert done.exit_code == 2
    assert "a folder on this computer only" in " ".join(done.stderr.replace("│", " ").split())
    assert not (tmp_path / "s3:").exists()


def test_interrupts_and_kills_are_resumed(
    server: PhotoServer,
    photos: Path,
    network: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    for number in range(100):
        shutil.copy(photos / "a" / "00.png", photos / "a" / f"copy{number}.png")
    addresses = serve(server, photos)
    listed, out = tmp_path / "list.txt", tmp_path / "out"
    listed.write_text("\n".join(addresses))
    late = [address.removeprefix(server.url) for address in addresses[40:]]
    server.seconds |= dict.fromkeys(late, 20.0)  # in progress when the command is interrupted
    line = ("predict", "--list", listed, "--model", network, *ONE_THREAD, "--out", out)
    interrupt_when(start_command(*line), lambda: len(masks(out)) >= 3)
    assert not temporary_folders(temporary)
    server.seconds |= dict.fromkeys(late, 0.05)
    kill_when(start_command(*line), lambda: len(masks(out)) >= 45)
    server.seconds.clear()
    end_of(start_command(*line))
    assert 0 < Predictions.open(out).manifest.counts["computed"] <= len(addresses) - 40
    expected = predict(
        list_photos([photos]), LocalSegmenter(), Predict(), tmp_path / "here", model="local"
    )
    assert masks(out).keys() == masks(expected).keys()
