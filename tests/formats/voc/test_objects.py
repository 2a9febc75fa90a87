"""Objects of VOC's annotations."""

import io
from xml.sax.saxutils import escape

import pytest
from data_folders import annotation_xml
from hypothesis import given
from hypothesis import strategies as st

from tag2mask.formats.voc.objects import read_objects


def object_names(xml: bytes) -> tuple[str, ...]:
    return read_objects(io.BytesIO(xml)).names


def test_object_names_count_objects_not_their_parts():
    assert object_names(annotation_xml("dog", "person", "dog").encode()) == ("dog", "person", "dog")
    assert object_names(b"<annotation/>") == ()


def test_entities_are_never_expanded():
    bomb = (
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
        b"<annotation><object><name>&x;</name></object></annotation>"
    )
    with pytest.raises(ValueError, match="document type"):
        object_names(bomb)


@given(names=st.lists(st.text("ab<&>'\"é犬 ", min_size=1, max_size=6).filter(str.strip)))
def test_any_name_is_read_back(names):
    xml = annotation_xml(*map(escape, names)).encode()
    assert object_names(xml) == tuple(name.strip() for name in names)


@pytest.mark.parametrize(("text", "size"), [("640", (640, 480)), ("0", None), ("x", None)])
def test_the_photo_and_its_size(text, size):
    xml = (
        f"<annotation><folder>x</folder><filename> a.jpg </filename><size><width>{text}</width>"
        "<height>480</height><depth>3</depth></size></annotation>"
    )
    assert read_objects(io.BytesIO(xml.encode()))[:2] == ("a.jpg", size)


def test_an_object_without_a_name():
    with pytest.raises(ValueError, match="object 2 has no name"):
        object_names(b"<a><object><name>x</name></object><object><name> </name></object></a>")
