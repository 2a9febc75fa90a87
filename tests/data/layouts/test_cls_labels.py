"""Label files of psa, SEAM and IRN: their contents, and pickles that are refused."""

import os
import pickle
import subprocess

import numpy as np
import pytest
from data_folders import label_vector, write_labels
from hypothesis import given, settings
from hypothesis import strategies as st

from tag2mask.data.layouts.cls_labels import read_cls_labels
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
        ([1, 2], "not a dictionary|no dictionary"),
        ({"a": np.zeros(19)}, "20 classes need"),
        ({"a": "dog"}, "20 classes need"),
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
