"""Addresses of other tools find the local photos."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tag2mask.data.layouts.addresses import AddressedPhotos, address_paths, is_address

_PHOTOS = ["a.jpg", "street/a.jpg", "street/my b.jpg", "yard/c.jpeg", "yard/ü.png"]


@pytest.mark.parametrize(
    ("address", "photo"),
    [
        ("a.jpg", "a.jpg"),
        ("street/a.jpg", "street/a.jpg"),
        ("/data/upload/1/1f0e2d3c-my b.jpg", "street/my b.jpg"),
        ("/data/upload/1/1f0e2d3c-my%20b.jpg", "street/my b.jpg"),
        ("/data/local-files/?d=photos%2Fstreet%2Fa.jpg", "street/a.jpg"),
        ("/data/local-files/?d=photos/a.jpg", "a.jpg"),
        ("http://localhost:8080/data/local-files/?d=street/my+b.jpg", "street/my b.jpg"),
        ("https://b.example/x/yard/c.jpg?X-Sig=a%2Fb", "yard/c.jpeg"),
        ("s3://bucket/street/a.jpg", "street/a.jpg"),
        (r"C:\photos\street\a.jpg", "street/a.jpg"),
        ("/home/me/yard/C.JPG", "yard/c.jpeg"),
        ("../../data/media/upload/1/1f0e2d3c-c.jpg", "yard/c.jpeg"),
        ("yard/u\u0308.png", "yard/ü.png"),
        ("gs://bucket/yard/%C3%BC.png", "yard/ü.png"),
        ("old/c", "yard/c.jpeg"),
    ],
)
def test_an_address_finds_its_photo(address, photo):
    assert AddressedPhotos(_PHOTOS).find(address) == (photo,)


def test_an_uploaded_photo_may_have_kept_its_prefix():
    photos = AddressedPhotos(["a.jpg", "1f0e2d3c-a.jpg"])
    assert photos.find("/data/upload/3/1f0e2d3c-a.jpg") == ("1f0e2d3c-a.jpg",)
    assert photos.find("/data/upload/3/2f0e2d3c-a.jpg") == ("a.jpg",)


def test_none_and_two():
    photos = AddressedPhotos(["x/a.jpg", "y/a.jpg", "y/b.png"])
    assert photos.find("/z/a.jpg") == ("x/a.jpg", "y/a.jpg")
    assert photos.find("/x/a.jpg") == ("x/a.jpg",)
    assert photos.find("/z/q.jpg") == photos.find("b.jpg") == photos.find("") == ()
    assert photos.find("http://[") == ()
    hashed = AddressedPhotos(["a.jpg", "a#1.jpg"])
    assert hashed.find("/home/me/a#1.jpg") == ("a#1.jpg",)


def test_a_plus_is_a_space_or_itself():
    photos = AddressedPhotos(["a b.jpg", "a+b.jpg", "c+d.jpg"])
    found = [photos.find(f"/data/local-files/?d={name}.jpg") for name in ("a+b", "a%2Bb", "c+d")]
    assert found == [("a b.jpg",), ("a+b.jpg",), ("c+d.jpg",)]


def test_what_is_an_address():
    assert all(map(is_address, ("/a.jpg", r"C:\a.jpg", "D:/a.jpg", "s3://b/a.jpg", r"\\nas\a.jpg")))
    assert not any(map(is_address, ("a.jpg", "street/a.jpg", "a: b.jpg", "")))


@given(st.text(max_size=40))
def test_any_text_is_read(text):
    for path in address_paths(text):
        assert not {"", ".", ".."} & set(path.split("/"))
    AddressedPhotos(["a.jpg"]).find(text)
