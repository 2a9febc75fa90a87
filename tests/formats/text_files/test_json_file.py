"""JSON that is read as a whole, within limits."""

import pytest

from tag2mask.errors import DataError
from tag2mask.formats.text_files import json_file
from tag2mask.formats.text_files.json_file import read_json_file


def test_content_with_and_without_a_byte_order_mark(tmp_path):
    path = tmp_path / "a.json"
    for start in (b"", b"\xef\xbb\xbf"):
        path.write_bytes(start + '{"ü": [1, null]}'.encode())
        assert read_json_file(path) == {"ü": [1, None]}


def test_many_values_are_not_read(tmp_path):
    """Each takes some 60 bytes of memory, and three in the file."""
    path = tmp_path / "a.json"
    path.write_bytes(b"[" + b"[]," * (10 << 20) + b"1]")
    with pytest.raises(DataError, match="more than 20000000 values"):
        read_json_file(path)


def test_large_files_are_not_read(tmp_path):
    path = tmp_path / "a.json"
    with path.open("wb") as file:
        file.truncate(json_file.MOST_BYTES + 1)
    with pytest.raises(DataError, match="more than 256 MiB of JSON"):
        read_json_file(path)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "[1e999]"])
def test_other_texts(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DataError, match="not JSON"):
        read_json_file(path)
