"""Arrays of ``.npz`` files: what NumPy writes, and headers that claim something else."""

from __future__ import annotations

import io
import struct
import zipfile

import numpy as np
import pytest

from tag2mask.maps.npz_arrays import NpzArrays


def npz(**members: bytes) -> bytes:
    """Return an archive of members of any content."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


def npy(header: str, values: bytes = b"abcdef") -> bytes:
    """Return an array of format 1.0 with any header."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + values


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype="<i4"),
        np.arange(6, dtype=">f8").reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=np.float16).reshape(3, 2)),
        np.zeros((0, 4), np.uint8),
        np.array("street/é"),
        np.array([True, False]),
        np.array(7),
    ],
)
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_writes_is_read_back(array, version, save) -> None:
    stream, one = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array(one, array, version)
    save(stream, a=array)
    for content in (stream.getvalue(), npz(a=one.getvalue())):
        found = NpzArrays(content).read("a", 1000)
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (6,), }", None),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (7,), }", "different size"),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (5,), }", "different size"),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 10000, 1000000), }", "larger"),
        ("{'descr': '<f3', 'fortran_order': False, 'shape': (2,), }", "unknown type <f3"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (6,), }", "not an array of numbers"),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2, ", "not an array of numbers"),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (-6,), }", "not an array of numbers"),
        ("{'descr': [('a', '<i4')], 'fortran_order': False, 'shape': (6,), }", "not an array"),
        ("{'descr': '|u1', 'shape': (6,), }", "not an array of numbers"),
    ],
)
def test_a_header_must_agree_with_the_file(header: str, message: str | None) -> None:
    content = npz(a=npy(header))
    if message is None:
        assert NpzArrays(content).read("a", 6).tolist() == list(b"abcdef")
        message = "larger than it can be"
        with pytest.raises(ValueError, match=message):
            NpzArrays(content).read("a", 5)
        return
    with pytest.raises(ValueError, match=message):
        NpzArrays(content).read("a", 1 << 20)


def test_other_files() -> None:
    with pytest.raises(ValueError, match=r"no \.npz file"):
        NpzArrays(b"PK")
    with pytest.raises(ValueError, match="it has no b"):
        NpzArrays(npz(a=b"")).read("b", 9)
    with pytest.raises(ValueError, match="a is not an array"):
        NpzArrays(npz(a=b"text")).read("a", 9)
