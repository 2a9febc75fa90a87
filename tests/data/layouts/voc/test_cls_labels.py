"""Label files of psa, SEAM and IRN: their contents, and pickles that are refused."""

import os
import pickle
import subprocess

import numpy as np
import pytest
from data_folders import label_vector, write_labels
from hypothesis import given, settings
from hypothesis import strategies as st
from label_files import fuzz_labels, labels_file, npy_of_objects, valid_files

from tag2mask.data.layouts.voc import plain_pickle
from tag2mask.data.layouts.voc.cls_labels import parse_cls_labels, read_cls_labels
from tag2mask.errors import DataError


def test_integer_keys_of_irn(tmp_path):
    path = write_labels(tmp_path, {2007000032: label_vector("aeroplane", "person")})
    assert read_cls_labels(path, 20) == {"2007_000032": (0, 14)}


def test_old_and_new_pickles_of_arrays(tmp_path):
    for protocol in (2, 3, 4):  # numpy.save used 2, then 3, now 4
        path = tmp_path / f"{protocol}.npy"
        array = np.array(
            {"a": label_vector("dog"), "b": label_vector("cat").astype(np.int64)}, object
        )
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(
                file, np.lib.format.header_data_from_array_1_0(array)
            )
            pickle.dump(array, file, protocol=protocol)
        # numpy 1 wrote the old name of the module.
        content = path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
        if protocol < 4:  # newer protocols count the bytes of a name
            path.write_bytes(content)
        assert read_cls_labels(path, 20) == {"a": (11,), "b": (7,)}


class _Harmful:
    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "harm",
    [
        lambda p: _Harmful(os.system, f"touch {p}"),
        lambda p: _Harmful(eval, f"open({str(p)!r}, 'w')"),
        lambda p: _Harmful(subprocess.check_call, ["touch", str(p)]),
        lambda p: _Harmful(np.load, str(p)),
        lambda p: _Harmful(getattr, "", "join"),
    ],
)
def test_a_pickle_runs_no_code(tmp_path, harm):
    mark = tmp_path / "mark"
    path = write_labels(tmp_path, {"a": harm(mark)})
    with pytest.raises(DataError, match="refused: the file asks for"):
        read_cls_labels(path, 20)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((3, 20), np.float32), "not a dictionary"),
        ([1, 2], "not a dictionary"),
        ({"a": np.zeros(19)}, "20 classes need"),
        ({"a": "dog"}, "refused: labels that are not an array of numbers"),
        ({"a": np.array(["dog"])}, "refused: an array of 'U3', which are not numbers"),
        ({"a": np.array([{}], object)}, "refused: an array of 'O8'"),
        ({"a": np.zeros((20, 1))}, r"'a' have shape \(20, 1\); 20 classes need \(20,\)"),
        ({b"a": np.zeros(20)}, "refused: a photo whose name is neither text nor"),
        ({("a", 1): np.zeros(20)}, "refused: a photo whose name"),
        ({1.5: np.zeros(20)}, "refused: a photo whose name"),
        ({True: np.zeros(20)}, "refused: a photo whose name"),
        ({10**30: np.zeros(20)}, "refused: a photo whose name"),
        ({"a": np.zeros(20, "M8[s]")}, "refused: the file asks for the data type 'M8'"),
        ({"a": np.zeros(20, "f4,f4")}, "refused: the file asks for"),
        ({"a": np.zeros(20, np.complex64)}, "refused: the file asks for the data type 'c8'"),
    ],
)
def test_other_arrays_are_refused(tmp_path, values, message):
    with pytest.raises(DataError, match=message):
        read_cls_labels(write_labels(tmp_path, values), 20)


def test_cut_off_label_file(tmp_path):
    path = write_labels(tmp_path, {"a": label_vector("dog")})
    for length in (0, 5, 100, 150):
        path.write_bytes(path.read_bytes()[:length] if length else b"")
        with pytest.raises(DataError, match="not a readable"):
            read_cls_labels(path, 20)
        path = write_labels(tmp_path, {"a": label_vector("dog")})


@settings(max_examples=25, deadline=None)
@given(tags=st.dictionaries(st.text("ab_07", min_size=1), st.sets(st.integers(0, 19)), min_size=1))
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_])
def test_round_trip(tmp_path_factory, tags, dtype):
    vectors = {id: np.isin(np.arange(20), sorted(own)).astype(dtype) for id, own in tags.items()}
    path = write_labels(tmp_path_factory.mktemp("labels"), vectors)
    assert read_cls_labels(path, 20) == {id: tuple(sorted(own)) for id, own in tags.items()}


@pytest.mark.parametrize("content", valid_files())
def test_labels_equal_those_of_numpy(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    expected = np.load(tmp_path / "a.npy", allow_pickle=True).item()
    assert list(parse_cls_labels(content, 20, "").values()) == [
        tuple(np.flatnonzero(vector)) for vector in expected.values()
    ]


def _text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def _int(value: int) -> bytes:
    return b"J" + value.to_bytes(4, "little", signed=True)


_SCALAR = b"cnumpy.core.multiarray\nscalar\n"
_DTYPE = b"cnumpy\ndtype\n("
_ENCODE = b"c_codecs\nencode\n"
_ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
_OBJECTS = _DTYPE + _text("O8") + b"tR"


def _array_of(element: bytes) -> bytes:
    """Return the pickle of a 0-d array of one object."""
    return _ARRAY + b"(K\x01)" + _OBJECTS + b"\x89](" + element + b"etb."


def _dtype_with_state(code: str, *state: bytes) -> bytes:
    return _DTYPE + _text(code) + b"tR(" + b"".join(state) + b"tb"


_PLAIN_STATE = (_int(3), _text("<"), b"NNN", _int(-1), _int(-1), _int(0))
_FAKE_POINTER = (
    # A dtype that has an object field and says that it has none: a pointer made of bytes.
    *(_int(3), _text("|"), b"N", b"(" + _text("a") + b"t"),
    b"}" + _text("a") + _OBJECTS + _int(0) + b"\x86s",
    *(_int(8), _int(1), _int(0)),
)
_NESTED_PAIRS = b"(" + _text("a") + b"\x85" + b"q\0h\0\x86" * 40 + _int(1) + b"u"


@pytest.mark.parametrize(
    ("element", "message"),
    [
        (
            b"}"
            + _SCALAR
            + b"("
            + _dtype_with_state("V8", *_FAKE_POINTER)
            + _text("A" * 8)
            + b"tR"
            + _int(1)
            + b"s",
            "asks for the data type 'V8'",
        ),
        (
            b"}"
            + _SCALAR
            + b"("
            + _dtype_with_state("i8", *_FAKE_POINTER)
            + _text("A" * 8)
            + b"tR"
            + _int(1)
            + b"s",
            "a composed data type",
        ),
        (b"}" + _NESTED_PAIRS, "a photo whose name is neither"),
        (
            b"}"
            + _text("a")
            + _ARRAY
            + b"(K\x01K\x14\x85"
            + _dtype_with_state("f4", *_PLAIN_STATE)
            + b"\x89C\x04abcdtbs",
            "bytes don't fit its type and shape",
        ),
        (
            b"}"
            + _text("a")
            + _ARRAY
            + b"(K\x01J\xff\xff\xff\xff\x85"
            + _dtype_with_state("f4", *_PLAIN_STATE)
            + b"\x89C\x04abcdtbs",
            "impossible shape",
        ),
        (b"}" + _text("a") + _ARRAY + b"s", "bytes don't fit"),
        (b"]q\1h\1a", "no dictionary"),  # a list that contains itself
        (b"}q\1(" + _text("a") + b"h\1u", "not an array of numbers"),
        (b"}" + _int(1) + b"s", "items of something that is not a dictionary"),
        (b"}h\x63", "a reference to a value that doesn't exist"),
        (b"}b", "a state that is not a tuple"),
        (b"0" * 20, "cut off or damaged after byte"),
        (
            _text("A" * 1000) + b"q\1(" + (_ENCODE + b"h\1" + _text("latin1") + b"\x86R") * 50,
            "longer than the file",
        ),
    ],
)
def test_crafted_pickles_end_at_once(element, message):
    with pytest.raises(DataError, match=message):
        parse_cls_labels(npy_of_objects(b"\x80\x02" + _array_of(element)), 20, "x")


def test_a_pickle_of_many_opcodes_ends(monkeypatch):
    monkeypatch.setattr(plain_pickle, "MAX_STEPS", 1000)
    with pytest.raises(DataError, match="refused: more than 1000 opcodes"):
        parse_cls_labels(npy_of_objects(b"\x80\x02" + b"N0" * 1000 + b"}."), 20, "x")


@pytest.mark.parametrize("header", [b"", b"{'descr': [('a', '|O')], 'shape': ()}", b"{'descr': 'x"])
def test_headers_that_are_not_of_an_array_of_objects(header):
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\x80\x02}."
    with pytest.raises(DataError, match="not a readable"):
        parse_cls_labels(content, 20, "x")


def test_a_file_above_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("tag2mask.data.layouts.voc.cls_labels.MAX_BYTES", 1 << 20)
    (tmp_path / "a.npy").write_bytes(labels_file({"a": label_vector("dog")}) + bytes(1 << 20))
    with pytest.raises(DataError, match="refused: more than 1 MiB"):
        read_cls_labels(tmp_path / "a.npy", 20)


def test_damaged_files_raise_data_errors_only():
    assert fuzz_labels(300) == []
