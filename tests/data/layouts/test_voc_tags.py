"""Objects of VOC's annotations."""

from xml.sax.saxutils import escape

import pytest
from data_folders import annotation_xml
from hypothesis import given
from hypothesis import strategies as st

from tag2mask.data.layouts.voc_tags import object_names


def test_object_names_count_objects_not_their_parts():
    assert object_names(annotation_xml("dog", "person", "dog").encode()) == ("dog", "person")
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
    assert object_names(xml) == tuple(dict.fromkeys(name.strip() for name in names))
