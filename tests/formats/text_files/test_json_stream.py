"""JSON read item by item gives what the json module gives, in little memory."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

import tag2mask.formats.text_files.json_stream as json_stream
from tag2mask.formats.text_files.json_stream import iterate_items

_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=25, deadline=None)
@given(
    items=st.lists(_json, max_size=5),
    other=_json,
    ascii=st.booleans(),
    block=st.integers(6, 60),
    indent=st.sampled_from([None, 2]),
)
def test_stream_gives_the_same_as_json(tmp_path_factory, items, other, ascii, block, indent):
    path = tmp_path_factory.mktemp("json") / "a.json"
    text = json.dumps(
        {"before": other, "items": items, "x": [other]}, ensure_ascii=ascii, indent=indent
    )
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    before = json_stream._BLOCK
    json_stream._BLOCK = block
    try:
        found = list(iterate_items(path, ["items"]))
    finally:
        json_stream._BLOCK = before
    assert [item.value for item in found] == items
    content = path.read_bytes()
    for item in found:
        assert content[item.start : item.start + len(item.raw)] == item.raw


def test_stream_keeps_one_block_in_memory(tmp_path, monkeypatch):
    import tracemalloc

    monkeypatch.setattr(json_stream, "_BLOCK", 1 << 16)
    path = tmp_path / "a.json"
    item = json.dumps({"segmentation": [list(range(200))]})
    path.write_text('{"items": [' + ",".join([item] * 5_000) + "]}")
    assert path.stat().st_size > 4e6
    tracemalloc.start()
    count = sum(1 for _ in iterate_items(path, ["items"]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 5_000 and peak < 1e6
