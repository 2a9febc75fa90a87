"""Listing of files, folders and patterns: photos, ids and errors."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from data_folders import ends_soon, write_mask_folders, write_photo
from PIL import Image

from tag2mask.artifacts.manifest import STARTED, Identity
from tag2mask.data.photo_files import PhotoFile, list_photos
from tag2mask.errors import DataError
from tag2mask.files.json_file import write_json


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photos in nested folders, and files that are not photos."""
    root = tmp_path / "photos"
    for name in ("a/1.jpg", "a/2.PNG", "b/1.jpg", "b/deep/3.tif", "c.webp"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 2)).save(root / name)
    (root / "notes.txt").write_text("none")
    (root / ".hidden.jpg").write_text("none")
    return root


def ids(*wanted: str | Path, leave_out: Path | None = None) -> list[str]:
    return [photo.id for photo in list_photos(wanted, leave_out=leave_out)]


def test_a_folder_is_listed_with_all_folders_inside(folder: Path) -> None:
    assert ids(folder) == ["a/1", "a/2", "b/1", "b/deep/3", "c"]
    photos = list_photos([folder])
    assert all(photo.path.is_file() and photo.path.is_absolute() for photo in photos)
    status = photos[0].path.stat()
    assert photos[0].stamp.startswith(f"{status.st_size}-{status.st_mtime_ns}-")


def test_ids_are_relative_to_the_common_folder(folder: Path) -> None:
    assert ids(folder / "a", folder / "b") == ["a/1", "a/2", "b/1", "b/deep/3"]
    assert ids(folder / "b") == ["1", "deep/3"]
    assert ids(folder / "a" / "1.jpg", folder / "a" / "2.PNG") == ["1", "2"]
    assert ids(folder / "a" / "1.jpg", folder / "b" / "1.jpg") == ["a/1", "b/1"]
    assert ids(folder / "a" / "1.jpg") == ["1"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("a/*.jpg", ["1"]),
        ("*/1.jpg", ["a/1", "b/1"]),
        ("**/*.tif", ["b/deep/3"]),
        ("[ab]/?.*", ["a/1", "a/2", "b/1"]),
        ("*", ["a/1", "a/2", "b/1", "b/deep/3", "c"]),
        ("**", ["a/1", "a/2", "b/1", "b/deep/3", "c"]),
    ],
)
def test_patterns(folder: Path, pattern: str, found: list[str]) -> None:
    assert ids(f"{folder}/{pattern}") == found


def test_paths_relative_to_the_working_directory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder / "a")
    assert ids(".") == ids("*") == ids("../a") == ["1", "2"]
    assert ids("../*.webp", "1.jpg") == ["a/1", "c"]


def test_a_path_that_exists_is_not_a_pattern(folder: Path) -> None:
    odd = folder / "[2020] a*"
    odd.mkdir()
    Image.new("RGB", (3, 2)).save(odd / "1.jpg")
    assert ids(odd) == ids(odd / "1.jpg") == ["1"]


def test_each_photo_is_listed_once(folder: Path) -> None:
    assert ids(folder, folder / "a", folder / "c.webp", f"{folder}/*") == ids(folder)


def test_suffixes_are_part_of_ambiguous_ids(folder: Path) -> None:
    for name in ("a/1.png", "a/1.jpg.png"):
        Image.new("RGB", (3, 2)).save(folder / name)
    found = list_photos([folder / "a"])
    assert [photo.id for photo in found] == ["1.jpg", "1.jpg.png", "1.png", "2"]
    assert len({photo.path for photo in found}) == 4


def test_a_file_given_by_name_may_have_any_suffix(folder: Path) -> None:
    assert ids(folder / "notes.txt", folder / "c.webp") == ["c", "notes.txt"]


def test_masks_written_into_the_folder_are_not_photos(folder: Path) -> None:
    before = ids(folder)
    Image.new("L", (3, 2)).save(folder / "b" / "deep" / "mask.png")
    assert ids(folder, leave_out=folder / "b" / "deep") == [i for i in before if "deep" not in i]
    with pytest.raises(DataError, match=r"no photo except in .*b, whose files are ignored.*--out"):
        ids(folder / "b" / "deep", leave_out=folder / "b")


def test_links_are_followed_and_keep_their_own_ids(folder: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(folder / "a")
    (link / "again.jpg").symlink_to(folder / "c.webp")
    (folder / "loop").symlink_to(folder)
    assert ids(link) == ["1", "2", "again"]
    assert "loop/c" not in ids(folder)
    loop, long = "loop.jpg", "long.jpg"
    (folder / loop).symlink_to(loop)
    (folder / long).symlink_to("a" * 300)
    for name in ("gone.jpg", "gone.txt"):
        (folder / name).symlink_to(folder / "nothing.jpg")
    assert "gone" in ids(folder) and "gone" in ids(folder / "*.jpg")
    for wanted in (folder, folder / "*.jpg"):
        bad = [photo for photo in list_photos([wanted]) if photo.id in ("gone", "loop", "long")]
        assert len(bad) == 3
        for photo in bad:
            with pytest.raises(DataError, match=photo.id):  # reported as unreadable
                photo.current_size()
    with pytest.raises(DataError, match="no such photo or folder"):
        ids(folder / loop)
    with pytest.raises(DataError, match="no such photo or folder"):
        ids(folder / ("a" * 300))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("nothing.jpg", r"no such photo or folder.*nothing\.jpg"),
        ("empty", r"no photo in the folder.*empty.*\.jpg"),
        ("*.gif", r"the pattern matches no photo.*\*\.gif"),
        ("*.txt", "the pattern matches no photo"),
    ],
)
def test_nothing_found_is_an_error(folder: Path, wanted: str, message: str) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match=message):
        ids(folder, folder / wanted)


def test_no_argument_is_an_error() -> None:
    with pytest.raises(DataError, match="no photos given"):
        list_photos([])


@pytest.mark.parametrize("name", ["3.04\u202fPM", "a\u00a0b", "\u3000"])
def test_spaces_of_any_kind_are_fine(tmp_path: Path, name: str) -> None:
    Image.new("RGB", (3, 2)).save(tmp_path / f"{name}.jpg")
    assert ids(tmp_path) == [name]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\nb.jpg", r"a\nb"),
        ("a\\b.jpg", r"a\\b"),
        (os.fsdecode(b"\xff.jpg"), r"\udcff"),
    ],
)
def test_an_unusable_name_is_an_error_of_its_photo_only(
    folder: Path, name: str, shown: str
) -> None:
    Image.new("RGB", (3, 2)).save(folder / name)
    photos = {photo.id: photo for photo in list_photos([folder])}
    assert set(photos) == {"a/1", "a/2", "b/1", "b/deep/3", "c", shown}
    with pytest.raises(DataError, match=r"the file name has.*Rename it"):
        photos.pop(shown).current_size()
    assert {photo.current_size() for photo in photos.values()} == {(2, 3)}


def test_a_folder_named_as_a_mask_would_be(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png/b.jpg", "c.png/d.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (3, 2)).save(tmp_path / name)
    assert ids(tmp_path) == ["a.jpg", "a.png/b", "c.png/d"]
    (tmp_path / "a.jpg.png").mkdir()
    Image.new("RGB", (3, 2)).save(tmp_path / "a.jpg.png" / "e.jpg")
    photos = {photo.id: photo for photo in list_photos([tmp_path])}
    with pytest.raises(DataError, match=r"a folder has the name of its mask.*a\.jpg.*Rename"):
        photos.pop("a.jpg").current_size()
    assert {photo.current_size() for photo in photos.values()} == {(2, 3)}


def test_a_photos_size_must_be_as_listed(folder: Path) -> None:
    path = folder / "c.webp"
    assert PhotoFile("c", path, "").current_size() == (2, 3)
    assert PhotoFile("c", path, "", (2, 3)).current_size() == (2, 3)
    with pytest.raises(DataError, match=r"different size.*c\.webp.*--update"):
        PhotoFile("c", path, "", (3, 2)).current_size()


def test_what_is_skipped_is_named(folder: Path) -> None:
    (folder / "out" / "masks").mkdir(parents=True)
    (folder / "out" / "log.txt").write_text("of an earlier prediction")
    (folder / "@eaDir").mkdir()
    Image.new("RGB", (3, 2)).save(folder / "@eaDir" / "1.jpg")
    others: list[str] = []
    photos = list_photos([folder], leave_out=folder / "out", skipped=others)
    assert others == [str(folder / "@eaDir"), str(folder / "notes.txt")] and len(photos) == 5
    again: list[str] = []
    list_photos([f"{folder}/*.*", folder / "notes.txt"], skipped=again)
    assert again == [], "a file given by name is a photo"


def test_system_folders_and_masks_of_an_earlier_call_are_not_photos(tmp_path):
    for name in ("a.jpg", "@eaDir/a.jpg/thumb.jpg", "__MACOSX/a.jpg", "labeled/a.png"):
        write_photo(tmp_path / name)
    record = Identity(step="predict", section={}, identity="a", fingerprint="b", started="now")
    write_json(tmp_path / "labeled" / STARTED, record.model_dump(mode="json"))
    assert [photo.id for photo in list_photos([tmp_path])] == ["a"]
    assert [photo.id for photo in list_photos([tmp_path / "labeled"])] == ["a"]  # asked for


def test_masks_of_either_program_are_not_photos(tmp_path: Path) -> None:
    masks = write_mask_folders(tmp_path / "photos")
    for given in ("", "/*", "/**", "/**/*.*"):
        assert ids(f"{tmp_path}/photos{given}") == ["a", "app/b", "line/d"], given
    skipped: list[str] = []
    list_photos([f"{tmp_path}/photos/**"], skipped=skipped)
    assert set(map(str, masks)) <= set(skipped)
    for folder in masks:
        assert ids(folder) == ids(f"{folder}/**") == ["c"] == ids(f"{folder}/*.*"), "asked for"


def test_the_folder_of_masks_is_left_out_whatever_links_lead_there(tmp_path: Path) -> None:
    for name in ("photos/a.jpg", "photos/out/a.png"):
        write_photo(tmp_path / name)
    (tmp_path / "link").symlink_to("photos")
    (tmp_path / "photos/again").symlink_to("out")
    assert ids(tmp_path / "photos") == ["a", "again/a", "out/a"]
    for given in ("photos", "link"):
        for out in ("photos/out", "link/out", "photos/again", "photos/../link/out"):
            assert ids(tmp_path / given, leave_out=tmp_path / out) == ["a"], (given, out)
    with pytest.raises(DataError, match="no photo except in"):
        ids(tmp_path / "link/out", leave_out=tmp_path / "photos/out")


def test_pipes_are_not_photos(folder: Path) -> None:
    os.mkfifo(folder / "a/pipe.jpg")
    (folder / "a/link.jpg").symlink_to("pipe.jpg")
    for given in (folder / "a", f"{folder}/a/*.*"):
        assert ids(given) == ["1", "2", "link"]
        link = list_photos([given])[-1]
        with ends_soon(), pytest.raises(DataError, match="a pipe or a device, where a photo is"):
            link.current_size()


def test_folders_far_inside_each_other(tmp_path: Path) -> None:
    write_photo(tmp_path.joinpath(*"d" * 99, "a.png"))
    assert len(ids(tmp_path)) == 1
    write_photo(tmp_path.joinpath(*"d" * 100, "b.png"))
    with pytest.raises(DataError, match=r"nested more than 100 levels deep.*up"):
        ids(tmp_path)
