"""Photos fetched ahead: order, limits, files that are deleted, storages at fault."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from data_folders import write_photo

from photo_server import PhotoServer
from tag2mask.data.images import read_image
from tag2mask.data.photo_files import PhotoFile
from tag2mask.data.remote import downloads as module
from tag2mask.data.remote.downloads import MOST_FAILURES, Fetched, downloads
from tag2mask.data.remote.listing import GivenPhoto, list_given_photos
from tag2mask.data.remote.storage import CONNECTIONS
from tag2mask.errors import DataError, StorageError


@pytest.fixture
def photo_bytes(tmp_path: Path) -> bytes:
    write_photo(tmp_path / "photo.png")
    return (tmp_path / "photo.png").read_bytes()


def listed(server: PhotoServer, count: int, content: bytes) -> list[GivenPhoto]:
    addresses = []
    for number in range(count):
        server.files[f"/{number:03}.png"] = content
        addresses.append(f"{server.url}/{number:03}.png")
    return list(list_given_photos(addresses))


def reasons(found: list[Fetched]) -> dict[str, str]:
    return {one.photo.id: one.file.what for one in found if isinstance(one.file, DataError)}


def test_photos_come_in_order_from_several_connections(
    server: PhotoServer, photo_bytes: bytes
) -> None:
    photos = listed(server, 40, photo_bytes)
    server.seconds |= dict.fromkeys(server.files, 0.03)
    with downloads(photos) as files:
        sizes = []
        for fetched in files.ahead(photos):
            with fetched.opened() as file:
                sizes.append(file.current_size())
                assert file.id == fetched.photo.id
            assert not file.path.exists(), "deleted once it is read"
    assert len(sizes) == 40 and len(set(sizes)) == 1
    assert 1 < server.most_at_once <= CONNECTIONS
    assert set(server.requests.values()) == {1}


def test_no_more_are_fetched_than_may_wait(server: PhotoServer, photo_bytes: bytes) -> None:
    photos = listed(server, 5 * CONNECTIONS, photo_bytes)
    with downloads(photos) as files, closing(files.ahead(photos)) as ahead:
        next(ahead)
        assert files._folder is not None
        temporary = files._folder
        assert len([*temporary.iterdir()]) <= 2 * CONNECTIONS
    assert sum(server.requests.values()) <= 2 * CONNECTIONS
    assert not temporary.exists()


def test_files_of_this_computer_are_not_copied(tmp_path: Path) -> None:
    write_photo(tmp_path / "in" / "a.png")
    photos = list_given_photos([str(tmp_path / "in")])
    with downloads(photos) as files:
        for found in (*files.ahead(photos), files.fetch(photos[0])):
            with found.opened() as file:
                assert file is photos[0]
    assert isinstance(photos[0], PhotoFile) and photos[0].path.is_file()


def test_single_photos_that_fail_are_left_out(server: PhotoServer, photo_bytes: bytes) -> None:
    photos = listed(server, 9, photo_bytes)
    server.answers |= {"/000.png": [403], "/003.png": [404], "/005.png": [503], "/008.png": [403]}
    with downloads(photos) as files:
        found = list(files.ahead(photos))
    assert [one.photo.id for one in found] == [f"{number:03}" for number in range(9)]
    told = reasons(found)
    assert set(told) == {"000", "003", "005", "008"}
    assert "denies access" in told["000"] and "no such photo" in told["003"]
    with pytest.raises(DataError, match="denies access"), found[0].opened():
        pass


def test_a_storage_that_fails_often_is_at_fault(server: PhotoServer, photo_bytes: bytes) -> None:
    photos = listed(server, 60, photo_bytes)
    server.answers |= {f"/{number:03}.png": [403] for number in range(20, 60)}
    taken: list[Fetched] = []
    with (
        pytest.raises(StorageError, match=r"denies access.*020\.png.*run the same command again"),
        downloads(photos) as files,
    ):
        for fetched in files.ahead(photos):
            taken.append(fetched)
    assert len(taken) == 20 + MOST_FAILURES


def test_a_storage_that_delivers_nothing_is_at_fault(
    server: PhotoServer, photo_bytes: bytes
) -> None:
    photos = listed(server, 2, photo_bytes)
    server.answers |= {key: [403] for key in server.files}
    with downloads(photos) as files, pytest.raises(StorageError, match=r"denies .*000\.png"):
        list(files.ahead(photos))
    server.answers |= {key: [404] for key in server.files}
    with downloads(photos) as files:
        assert len(reasons(list(files.ahead(photos)))) == 2


def test_what_can_not_be_read_is_named_by_its_address(
    server: PhotoServer, photo_bytes: bytes
) -> None:
    server.files |= {
        "/cut.png": photo_bytes[: len(photo_bytes) // 2],
        "/empty.png": b"",
        "/login": b"\n<!DOCTYPE html><html>Log in</html>",
    }
    photos = list_given_photos([f"{server.url}{name}?Signature=secret" for name in server.files])
    expected = {
        "cut": r"can't be read.*\[http.*/cut\.png\]",
        "empty": r"\[http.*/empty\.png\]",
        "login": r"a web page, not a photo \[http.*/login\].*ends in /",
    }
    with downloads(photos) as files:
        for fetched in files.ahead(photos):
            with (
                pytest.raises(DataError, match=expected[fetched.photo.id]) as found,
                fetched.opened() as file,
            ):
                read_image(file.path)
            assert "secret" not in str(found.value) and "tag2mask-" not in str(found.value)
            assert not file.path.exists()


def test_a_page_is_known_by_its_beginning(tmp_path: Path) -> None:
    for text, page in (("<html lang=en>", True), ('<?xml?><svg/><a href="">', False), ("", False)):
        (tmp_path / "a").write_text(text)
        assert module._is_page(tmp_path / "a") is page
