"""XML read item by item, within limits."""

import io
from dataclasses import replace
from itertools import chain, repeat
from unittest.mock import ANY

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tag2mask.errors import DataError
from tag2mask.formats.text_files import xml_stream
from tag2mask.formats.text_files.xml_stream import (
    attribute,
    iterate_xml,
    read_item,
    text_content,
)


def items(text: str | bytes, root: str | None = None):
    return list(iterate_xml(io.BytesIO(text.encode() if isinstance(text, str) else text), root))


@settings(max_examples=50, deadline=None)
@given(
    values=st.lists(
        st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff")),
        max_size=4,
    )
)
def test_any_text_is_read_back(values):
    rows = "".join(f"<b{attribute('x', v)}><c>{text_content(v)}</c></b>" for v in values)
    found = items(f"<a>{rows}</a>", "a")
    assert [item.attributes["x"] for item in found] == values
    assert [item.children[0].text for item in found] == values


def test_names_that_xml_cannot_hold():
    for name in ("a\x00", "\ud800", "\uffff"):
        with pytest.raises(DataError, match="XML can't hold"):
            attribute("x", name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<b/>", "begins with <b>, not with <a>"),
        ("<a><x>", "not XML: no element found"),
        ("", "not XML"),
        ("<a>" + "<x>" * 100_000, "nested too deeply"),
        (
            '<!DOCTYPE a [<!ENTITY x "y"><!ENTITY z "&x;&x;&x;">]><a><b>&z;</b></a>',
            "document type declaration",
        ),
        ('<?xml version="1.0" encoding="bz2_codec"?><a/>', "not XML"),
        ("<a><b>&x;</b></a>", "undefined entity"),
    ],
)
def test_files_that_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        items(text, "a")


@pytest.mark.parametrize(
    ("limit", "inner", "message"),
    [("MOST_ELEMENTS", b"<c/>", "elements in <b>"), ("MOST_TEXT", b"words ", "characters in <b>")],
)
def test_one_item_has_a_limit_but_a_file_has_none(monkeypatch, limit, inner, message):
    monkeypatch.setattr(xml_stream, limit, 100)
    many = b"<b>" + inner * 10 + b"</b>"
    assert len(items(b"<a>" + many * 50 + b"</a>")) == 50
    endless = chain([b"<a><b>"], repeat(inner * 1000))  # stops long before its end
    file = io.BytesIO()
    file.read = lambda _: next(endless)
    with pytest.raises(ValueError, match=message):
        list(iterate_xml(file))


def test_a_tag_has_a_limit(monkeypatch):
    monkeypatch.setattr(xml_stream, "MOST_BYTES", 1 << 21)
    monkeypatch.setattr(xml_stream, "_BLOCK", 1 << 18)
    tag = b'<b x="' + b"x" * (1 << 21) + b'"/>'
    assert len(items(b"<a>" + tag * 3 + b"</a>")) == 3
    with pytest.raises(ValueError, match="a tag of more than 2 MiB"):
        items(b'<a><b x="' + b"x" * (1 << 22) + b'"/></a>')


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [
        ("utf-8", ""),
        ("utf-8", '<?xml version="1.0" encoding="utf-8"?>\n'),
        ("utf-8-sig", '<?xml version="1.0"?>\n'),
        ("latin-1", "<?xml version='1.0' encoding='ISO-8859-1'?>"),
        ("cp1252", '<?xml version="1.0" encoding="windows-1252"?>'),
        ("utf-16", '<?xml version="1.0" encoding="UTF-16"?>'),
        ("utf-16-le", '<?xml version="1.0" encoding="UTF-16"?>'),
        ("utf-16-be", "<?xml version='1.0'?>"),
    ],
)
@pytest.mark.parametrize("size", [10, 100_000])
def test_one_item_is_read_again(encoding, declared, size):
    names = ["dög", "x" * size, "ß" * size]
    rows = " words ".join(f"<b x='{name}'><c>{name}</c></b >" for name in names)
    file = io.BytesIO(f"{declared}<a><!-- first -->\n{rows}</a>".encode(encoding))
    found = list(iterate_xml(file, "a"))
    assert [item.attributes["x"] for item in found] == names
    for item in reversed(found):
        assert read_item(file, item.start) == replace(item, start=ANY)


@pytest.mark.parametrize("start", [0, 1, 8, 10**6])
def test_what_is_no_item_is_not_read_again(start):
    with pytest.raises(ValueError, match="not XML"):
        read_item(io.BytesIO(b"<a><b>words"), start)
