"""Lines of text files in several encodings."""

import pytest

from tag2mask.errors import DataError
from tag2mask.formats.text_files.text_lines import read_lines, text_encoding


def test_lines_keep_other_separators_than_line_feeds(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes("\ufeffa\x0bb\u2028c\nd".encode())
    assert read_lines(path) == ["a\x0bb\u2028c", "d"]
    with pytest.raises(DataError, match="can't be read"):
        read_lines(tmp_path / "gone.txt")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_the_encoding_is_found(tmp_path, encoding):
    path = tmp_path / "list.txt"
    path.write_bytes("Größe – Maß\n".encode(encoding))
    assert read_lines(path, text_encoding(path)) == ["Größe – Maß", ""]


def test_a_wrong_encoding_is_an_error(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"\x81\xff")
    with pytest.raises(DataError, match="not cp1252 text"):
        read_lines(path, text_encoding(path))
    with pytest.raises(DataError, match="can't be read"):
        text_encoding(tmp_path / "gone.txt")
    with pytest.raises(DataError, match="no encoding is called 'klingon'"):
        read_lines(path, "klingon")
