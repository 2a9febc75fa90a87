"""Addresses: parts, signatures, what is requested."""

from __future__ import annotations

import pytest

from tag2mask.data.remote.addresses import Address, is_remote, parse_address, request_address
from tag2mask.errors import DataError

pytestmark = pytest.mark.smoke


@pytest.mark.parametrize(
    ("text", "remote"),
    [
        ("s3://bucket/a.jpg", True),
        ("https://host/a.jpg", True),
        ("ftp://host/a.jpg", True),
        ("a.jpg", False),
        ("/home/a.jpg", False),
        (r"C:\photos\a.jpg", False),
        ("C://photos/a.jpg", False),
        ("photos/x://a.jpg", False),
    ],
)
def test_addresses_and_paths(text: str, remote: bool) -> None:
    assert is_remote(text) is remote


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("s3://bucket/a/b c#1?.jpg", ("s3", "bucket", "a/b c#1?.jpg", "")),
        ("gs://bucket", ("gs", "bucket", "", "")),
        ("S3://bucket/A%20.jpg", ("s3", "bucket", "A%20.jpg", "")),
        ("https://Host:81/a%20b/%C3%BC.jpg?v=1#top", ("https", "host:81", "a b/ü.jpg", "v=1")),
        ("https://me:secret@host/a.jpg", ("https", "host", "a.jpg", "")),
        ("file:///home/a.jpg", ("file", "", "home/a.jpg", "")),
        ("memory://a/b.jpg", ("memory", "a", "b.jpg", "")),
        ("memory:///a/b.jpg", ("memory", "a", "b.jpg", "")),
    ],
)
def test_parts(text: str, parts: tuple[str, str, str, str]) -> None:
    assert parse_address(text) == Address(*parts)


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("v=2&expires=never", "v=2&expires=never"),
        ("versionId=7&X-Amz-Date=1&X-Amz-Signature=secret", "versionId=7"),
        ("AWSAccessKeyId=K&Signature=secret&Expires=9", ""),
        ("X-Goog-Algorithm=G&X-Goog-Signature=secret&w=3", "w=3"),
        ("sv=2024&se=9&sp=r&sig=secret&size=4", "size=4"),
        ("Expires=9&Signature=secret&Key-Pair-Id=K", ""),
    ],
)
def test_a_signature_is_not_part_of_the_name(query: str, kept: str) -> None:
    parts = parse_address(f"https://host/a.jpg?{query}")
    assert parts.query == kept
    assert "secret" not in str(parts)


def test_addresses_in_messages() -> None:
    assert str(parse_address("https://me:pass@h/a%20b.jpg?v=1")) == "https://h/a b.jpg?v=1"
    assert str(parse_address("s3://bucket/a.jpg")) == "s3://bucket/a.jpg"
    assert str(parse_address("s3://bucket/")) == "s3://bucket"
    assert str(parse_address("file:///home/a.jpg")) == "file:///home/a.jpg"


def test_unknown_storages_are_rejected() -> None:
    with pytest.raises(DataError, match=r"kind ftp://.*\[ftp://host/a\.jpg\].*s3://, gs://"):
        parse_address("ftp://host/a.jpg")
    with pytest.raises(DataError, match=r"did you mean 'https'"):
        parse_address("htps://host/a.jpg")
    for text in ("https://", "https://[broken/a.jpg", "http:///a.jpg"):
        with pytest.raises(DataError, match=r"no valid address.*https://host/path"):
            parse_address(text)


@pytest.mark.parametrize(
    ("text", "requested"),
    [
        ("https://h/a b.jpg", "https://h/a%20b.jpg"),
        ("https://h/a%20b.jpg", "https://h/a%20b.jpg"),
        ("https://h/ü[1].jpg?q=ä#top", "https://h/%C3%BC%5B1%5D.jpg?q=%C3%A4"),
        ("https://h/a.jpg?X=A%2FB%3D", "https://h/a.jpg?X=A%2FB%3D"),
        ("https://h/a/*.jpg", "https://h/a/*.jpg"),
    ],
)
def test_requested_addresses_are_encoded_once(text: str, requested: str) -> None:
    assert request_address(text) == requested
