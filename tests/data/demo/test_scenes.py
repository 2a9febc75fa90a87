"""The demo's data folder: complete, reproducible, tags that agree with the masks."""

from __future__ import annotations

import csv
import socket
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tag2mask.data.demo import scenes
from tag2mask.data.demo.scenes import make_demo_data
from tag2mask.data.images import image_size, read_image
from tag2mask.data.masks import read_mask
from tag2mask.errors import DataError

PHOTOS = 48


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo_data(tmp_path_factory.mktemp("demo") / "data", photos=PHOTOS, side=96)


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "tags.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def names(folder: Path) -> list[str]:
    return (folder / "classes.txt").read_text(encoding="utf-8").split()


def test_folder_is_complete(folder: Path, rows: list[dict[str, str]]) -> None:
    assert len(rows) == PHOTOS
    assert Counter(row["split"] for row in rows) == {"train": 40, "val": 8}
    assert {p.name for p in folder.iterdir()} == {
        "tags.csv",
        "classes.txt",
        "images",
        "masks",
        "demo.json",
    }
    for row in rows:
        size = image_size(folder / row["image"])
        assert max(size) == 96 and min(size) >= 72
        assert read_mask(folder / row["mask"], len(names(folder))).shape == size


def test_tags_are_what_the_masks_show(folder: Path, rows: list[dict[str, str]]) -> None:
    for row in rows:
        mask = read_mask(folder / row["mask"], len(names(folder)))
        shown = {names(folder)[value - 1] for value in np.unique(mask) if value > 0}
        assert shown == set(filter(None, row["tags"].split(";")))
        for value in np.unique(mask[mask > 0]):
            assert (mask == value).mean() > 0.003, "an object too small to be visible"


def test_every_class_and_background_only_occur(rows: list[dict[str, str]], folder: Path) -> None:
    for split in ("train", "val"):
        seen = Counter(
            tag for row in rows if row["split"] == split for tag in row["tags"].split(";")
        )
        assert set(names(folder)) <= set(seen), split
    assert 2 <= sum(row["tags"] == "" for row in rows) <= PHOTOS // 6
    assert max(len(row["tags"].split(";")) for row in rows) > 1


def test_masks_cover_their_objects(folder: Path, rows: list[dict[str, str]]) -> None:
    """The cup is redder than most backgrounds: so must be the pixels inside its masks."""
    cup = names(folder).index("cup") + 1
    redness_in, redness_out = [], []
    for row in rows:
        if row["tags"] != "cup":
            continue
        rgb = np.asarray(read_image(folder / row["image"]), float)
        mask = read_mask(folder / row["mask"], len(names(folder)))
        share = rgb[..., 0] / (rgb.sum(axis=2) + 1)
        redness_in.append(share[mask == cup].mean())
        redness_out.append(share[mask == 0].mean())
    assert len(redness_in) >= 3
    assert np.mean(redness_in) > np.mean(redness_out) + 0.08


def test_same_seed_same_bytes_and_no_network(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the demo must not open a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    fewer = make_demo_data(tmp_path / "fewer", photos=12, side=96)
    other = make_demo_data(tmp_path / "other", photos=12, side=96, seed=1)
    for kind in ("images", "masks"):
        for path in sorted((fewer / kind).iterdir()):
            assert path.read_bytes() == (folder / kind / path.name).read_bytes()
    assert (other / "images/0000.jpg").read_bytes() != (fewer / "images/0000.jpg").read_bytes()


def test_the_same_demo_is_kept_another_one_replaced(tmp_path: Path) -> None:
    path = make_demo_data(tmp_path / "new" / "demo", photos=12, side=64)
    before = (path / "images/0000.jpg").stat().st_mtime_ns
    assert make_demo_data(path, photos=12, side=64) == path
    assert (path / "images/0000.jpg").stat().st_mtime_ns == before
    make_demo_data(path, photos=13, side=64)
    assert len(list((path / "images").iterdir())) == 13
    assert [p.name for p in path.parent.iterdir()] == ["demo"]


def test_other_folders_are_not_changed(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(DataError, match="something other than demo data"):
        make_demo_data(tmp_path, photos=12, side=64)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(DataError, match="too small"):
        make_demo_data(tmp_path / "x", photos=3)


def test_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(scenes, "write_mask", stop)
    with pytest.raises(KeyboardInterrupt):
        make_demo_data(tmp_path / "demo", photos=12, side=64)
    assert list(tmp_path.iterdir()) == []
