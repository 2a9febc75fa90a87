"""Listing of photos: what can't be read is listed with its reason."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest
from data_folders import ends_soon, write_mask_folders, write_photo
from odd_folders import linked, nested
from watching import put

from tag2mask.data import photo_files
from tag2mask.segmentation.standalone.files import list_photos, photo_of
from tag2mask.segmentation.standalone.predict import check_folder


def test_a_folder_that_cannot_be_read_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = tmp_path / "inbox"
    for name in ("closed/a.png", "closed.png", "open/b.png"):
        put(inbox / name, 1)
    scandir = os.scandir

    def refuse(folder: Path) -> Any:
        if folder.name in refused:
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    refused = ["closed"]
    listed = list_photos([str(inbox)], tmp_path / "out")
    assert {(photo.path.name, photo.id): photo.problem for photo in listed} == {
        ("closed", "closed"): "it can't be read: Permission denied",
        ("closed.png", "closed"): "",
        ("b.png", "open/b"): "",
    }
    refused = ["inbox"]
    with pytest.raises(PermissionError):
        list_photos([str(inbox)], tmp_path / "out")


def test_a_link_to_a_folder_above_repeats_no_photo(tmp_path: Path) -> None:
    put(tmp_path / "inbox/sub/a.png", 1)
    (tmp_path / "inbox/sub/up").symlink_to("..")
    assert [photo.id for photo in list_photos([str(tmp_path / "inbox")], tmp_path / "out")] == [
        "sub/a"
    ]


def test_masks_of_either_program_are_not_photos(tmp_path: Path) -> None:
    masks = write_mask_folders(tmp_path / "photos")
    for given in ("", "/*", "/**", "/**/*.*"):
        found = list_photos([f"{tmp_path}/photos{given}"], tmp_path / "out")
        assert [photo.id for photo in found] == ["a", "app/b", "line/d"], given
    for folder in masks:
        for given in ("", "/**", "/*.*"):
            found = list_photos([f"{folder}{given}"], tmp_path / "out")
            assert [photo.id for photo in found] == ["c"], "asked for"


def test_masks_are_left_out_whatever_links_lead_there(tmp_path: Path) -> None:
    for name in ("photos/a.jpg", "photos/out/a.png"):
        write_photo(tmp_path / name)
    (tmp_path / "link").symlink_to("photos")
    (tmp_path / "photos/again").symlink_to("out")
    for given in ("photos", "link", "photos/../link/*"):
        for out in ("photos/out", "link/out", "photos/again", "photos/../link/out"):
            found = list_photos([str(tmp_path / given)], tmp_path / out)
            assert [photo.id for photo in found] == ["a"], (given, out)


def test_folders_without_end_are_left_out(tmp_path: Path) -> None:
    put(nested(tmp_path / "photos/deep", 98) / "b.png", 1)
    put(nested(tmp_path / "photos/deeper", 99) / "c.png", 1)
    linked(tmp_path / "photos/links", 20)
    put(tmp_path / "photos/a.png", 1)
    found = list_photos([str(tmp_path / "photos")], tmp_path / "out")
    assert [photo.path.name for photo in found if not photo.problem] == ["a.png", "b.png"]
    assert {photo.problem for photo in found} == {
        "",
        "it is in more than 100 folders, or linked to in as many ways",
    }


def test_pipes_and_devices_are_not_read(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    put(inbox / "a.png", 1)
    (inbox / "b.png").symlink_to("a.png")
    os.mkfifo(inbox / "cam.jpg")
    (inbox / "link.jpg").symlink_to("cam.jpg")
    (inbox / "zero.jpg").symlink_to("/dev/zero")
    (inbox / "gone.jpg").symlink_to("nowhere")
    os.mkfifo(inbox / "manifest.json")
    problem = "it is a pipe or a device, no photo"
    expected = {"a": "", "b": "", "cam": problem, "gone": "", "link": problem, "zero": problem}
    for given in (inbox, inbox / "*"):
        with ends_soon():
            listed = list_photos([str(given)], tmp_path / "out")
        assert {photo.id: photo.problem for photo in listed} == expected
    (photo,) = list_photos([str(inbox / "cam.jpg")], tmp_path / "out")
    assert photo.problem == problem


@pytest.mark.parametrize(
    ("name", "usable"),
    [
        ("7\nx_1", False),
        ("a\rb", False),
        ("tab\t", False),
        ("a\\b", False),
        ("\udcff", False),
        ("at 3.04\u202fPM", True),  # as macOS names screenshots
        ("=1, 2", True),
    ],
)
def test_names_that_no_mask_can_have_are_those_of_tag2mask(
    tmp_path: Path, name: str, usable: bool
) -> None:
    write_photo(tmp_path / "photos" / f"{name}.png")
    (photo,) = list_photos([str(tmp_path / "photos")], tmp_path / "out")
    assert photo.problem == ("" if usable else "no mask can have this name; rename it")
    assert photo_of(name, tmp_path / "gone", "").problem == photo.problem
    (same,) = photo_files.list_photos([tmp_path / "photos"])
    assert (same.problem is None) is usable


def test_temporary_files_of_killed_calls_are_removed(tmp_path: Path) -> None:
    kept = ("masks/new/.tmp-0123456789ab.png", "masks/.tmp-mine.png", ".tmp-0123456789ab.jpg")
    names = ("masks/a/.tmp-0123456789ab.png", ".tmp-0123456789ab.json", "a/.tmp-0123456789ab.png")
    for name in (*kept, *names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
        age = 60 if "new" in name else 4000
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    (tmp_path / "model.onnx").touch()
    check_folder(tmp_path, tmp_path / "model.onnx", decisions=False)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob(".tmp-*")}
    assert left == {*kept, "a/.tmp-0123456789ab.png"}, "photos may be beside masks/"
