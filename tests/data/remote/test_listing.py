"""Listing of addresses: photos, ids, stamps, and errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from photo_server import PhotoServer
from tag2mask.data.photo_files import PhotoFile
from tag2mask.data.remote.listing import RemotePhoto, list_given_photos, read_photo_list
from tag2mask.errors import DataError


@pytest.fixture
def bucket() -> Iterator[str]:
    """A storage in memory."""
    files = fsspec.filesystem("memory")
    names = ("a/1.jpg", "a/2.PNG", "b/1.jpg", "b/deep/3.tif", "c.webp", "notes.txt", "b/.x/4.jpg")
    for name in (*names, "@eaDir/5.jpg", "raw"):
        files.pipe(f"/bucket/photos/{name}", name.encode())
    yield "memory://bucket/photos"
    files.store.clear()
    files.pseudo_dirs[:] = [""]


def ids(*given: str) -> list[str]:
    return [photo.id for photo in list_given_photos(given)]


def test_paths_are_listed_as_before(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    (photo,) = list_given_photos([str(tmp_path)])
    assert isinstance(photo, PhotoFile) and photo.id == "a"


def test_a_folder_is_listed_with_all_folders_inside(bucket: str) -> None:
    skipped: list[str] = []
    photos = list_given_photos([bucket], skipped=skipped)
    assert [photo.id for photo in photos] == ["a/1", "a/2", "b/1", "b/deep/3", "c"]
    assert skipped == ["memory://bucket/photos/notes.txt", "memory://bucket/photos/raw"]
    assert ids(f"{bucket}/") == [photo.id for photo in photos]


def test_ids_are_relative_to_the_common_folder(bucket: str) -> None:
    assert ids(f"{bucket}/a", f"{bucket}/b") == ["a/1", "a/2", "b/1", "b/deep/3"]
    assert ids(f"{bucket}/b") == ["1", "deep/3"]
    assert ids(f"{bucket}/a/1.jpg") == ["1"]
    assert ids(f"{bucket}/a/1.jpg", f"{bucket}/b/1.jpg") == ["a/1", "b/1"]
    assert ids("https://one/a.jpg", "https://two:81/a.jpg") == ["one/a", "two_81/a"]
    assert ids("https://one/a.jpg", "s3://bucket/b/a.jpg") == ["https/one/a", "s3/bucket/b/a"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("a/*.jpg", ["1"]),
        ("*/1.jpg", ["a/1", "b/1"]),
        ("**/*.tif", ["b/deep/3"]),
        ("b*", ["b/1", "b/deep/3"]),
    ],
)
def test_patterns(bucket: str, pattern: str, found: list[str]) -> None:
    assert ids(f"{bucket}/{pattern}") == found


def test_each_photo_is_listed_once(bucket: str) -> None:
    everything = (bucket, f"{bucket}/a", f"{bucket}/c.webp", f"{bucket}/*/*")
    assert ids(*everything) == ids(bucket)
    signed = [f"https://host/a.jpg?Signature={number}" for number in (1, 2)]
    assert ids(*signed) == ["a"]


def test_a_file_given_by_name_may_have_any_suffix(bucket: str) -> None:
    assert ids(f"{bucket}/raw", f"{bucket}/c.webp") == ["c", "raw"]


def test_suffixes_and_queries_are_part_of_ambiguous_ids() -> None:
    assert ids("https://h/a.jpg", "https://h/a.png") == ["a.jpg", "a.png"]
    assert ids("https://h/get?id=1", "https://h/get?id=2") == ["get_id=1", "get_id=2"]
    assert ids("https://h/a.jpg?w=8", "https://h/a.jpg?w=9") == ["a_w=8", "a_w=9"]
    assert ids("https://h/a.jpg?w=8") == ["a"]


def test_single_photos_are_not_requested(server: PhotoServer) -> None:
    found = list_given_photos([f"{server.url}/a/{number}.jpg" for number in range(100)])
    assert len(found) == 100 and not server.requests


def test_stamps(bucket: str) -> None:
    def stamp(*given: str) -> str:
        return list_given_photos(given)[0].stamp

    before = stamp(f"{bucket}/a")
    assert before == stamp(f"{bucket}/a")
    size, _, checksum = before.split("-", 2)[0], *before.rsplit("-", 1)
    assert size == "7"
    fsspec.filesystem("memory").pipe("/bucket/photos/a/1.jpg", b"another photo")
    after = stamp(f"{bucket}/a")
    assert after.startswith("13-") and after.endswith(checksum), "the same photo, changed"
    single = stamp("https://h/a.jpg?Signature=1")
    assert single == stamp("https://h/a.jpg?Signature=2"), "a new signature changes nothing"
    assert single != stamp("https://h/a.jpg?v=2") and single != stamp("https://g/a.jpg")


def test_names_that_no_mask_can_have() -> None:
    odd = {
        "s3://b/x/a//b.jpg": "an empty part",
        "s3://b/x/../b.jpg": "'..'",
        "https://h/x/a%5Cb.jpg": "backslash",
        "https://h/x/a%0Ab.jpg": "can't be printed",
    }
    for address, problem in odd.items():
        (photo,) = list_given_photos([address])
        assert photo.problem is not None and problem in photo.problem
    same = list_given_photos(["s3://b/a/1.jpg", "s3://b/a//1.jpg", "s3://b/c.jpg"])
    assert {photo.id for photo in same if not photo.problem} == {"a/1", "c"}
    hosts = list_given_photos([f"https://{host}/a.jpg" for host in ("h_81", "h:81", "g")])
    assert {photo.id for photo in hosts if not photo.problem} == {"g/a"}, "never another's mask"
    bytes_ = list_given_photos(["https://h/%FF.jpg", "https://h/%FE.jpg"])
    assert len(bytes_) == 2 and all(photo.problem for photo in bytes_)
    inside = list_given_photos(["s3://b/a.jpg", "s3://b/a.png/b.jpg", "s3://b/a.jpg.png/c.jpg"])
    assert sum(photo.problem is not None for photo in inside) == 1


def test_a_web_server_lists_its_photos(server: PhotoServer) -> None:
    for name in ("/in/a b.jpg", "/in/deep/ü.png", "/in/notes.txt", "/x.jpg"):
        server.files[name] = b"photo"
    skipped: list[str] = []
    photos = list_given_photos([f"{server.url}/in/"], skipped=skipped)
    assert [photo.id for photo in photos] == ["a b", "deep/ü"]
    assert skipped == [f"{server.url}/in/notes.txt"]
    assert all(isinstance(photo, RemotePhoto) for photo in photos)
    assert ids(f"{server.url}/in/*.jpg") == ["a b"]
    assert ids(f"{server.url}/in/deep/ü.png", f"{server.url}/in/") == ["a b", "deep/ü"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("none", r"no photo at this address \[memory://bucket/photos/none\]\. Photos are files"),
        ("**.jpg", r"\*\* is not a folder of its own \[.*\].*\*\*/\*\.jpg"),
        ("*.gif", "the pattern matches no photo"),
        ("*.txt", "the pattern matches no photo"),
    ],
)
def test_nothing_found_is_an_error(bucket: str, given: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ids(bucket, f"{bucket}/{given}")


def test_a_web_page_without_photos_is_an_error(server: PhotoServer) -> None:
    server.files["/in/notes.txt"] = b"none"
    with pytest.raises(DataError, match=r"no photo at this address \[http.*/in/\].*--list"):
        ids(f"{server.url}/in/")


def test_paths_beside_addresses_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"beside addresses \[here\].*two commands"):
        ids("s3://bucket/a.jpg", "here")


def test_a_list_of_photos(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_bytes(b"https://h/a.jpg\r\n\n  https://h/b.jpg  \n")
    assert read_photo_list(file) == ["https://h/a.jpg", "https://h/b.jpg"]
    file.write_text("\n\n")
    with pytest.raises(DataError, match=r"the list names no photo.*one path or address per line"):
        read_photo_list(file)
    with pytest.raises(DataError, match=r"none\.txt"):
        read_photo_list(tmp_path / "none.txt")
