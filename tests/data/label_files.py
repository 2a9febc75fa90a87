"""Valid and damaged files ``cls_labels.npy``, for tests and for `fuzz_labels`."""

from __future__ import annotations

import io
import pickle
import random

import numpy as np

from tag2mask.data.layouts.cls_labels import parse_cls_labels
from tag2mask.errors import DataError

CLASSES = 20


def npy_of_objects(pickled: bytes) -> bytes:
    """Return a ``.npy`` of one object with any pickle in it."""
    stream = io.BytesIO()
    header = {"descr": "|O", "fortran_order": False, "shape": ()}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue() + pickled


def labels_file(values: object, protocol: int = 4) -> bytes:
    """Return the bytes of ``cls_labels.npy``, as numpy writes it with a pickle protocol."""
    return npy_of_objects(pickle.dumps(np.array(values, object), protocol=protocol))


def valid_files(seed: int = 0) -> list[bytes]:
    """Return small files of all the forms that are read."""
    rng = np.random.default_rng(seed)
    vectors = [(rng.random(CLASSES) > 0.8).astype(t) for t in ("f4", "f8", "i8", "u1", "?", ">f4")]
    keys = [f"2007_{i:06d}" for i in range(4)], [np.int32(2007000000 + i) for i in range(4)]
    files = [
        (
            protocol,
            labels_file({key: vectors[(i + protocol) % 6] for i, key in enumerate(own)}, protocol),
        )
        for own in (*keys, list(map(np.str_, keys[0])))
        for protocol in (2, 3, 4)
    ]
    # numpy 1 wrote the old name of the module; protocol 4 counts the bytes of a name.
    old = [f.replace(b"numpy._core", b"numpy.core") for protocol, f in files if protocol < 4]
    return [f for _, f in files] + old


def damaged(content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Return a file with one to four random changes: bits, bytes, cuts, copies, opcodes."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at, length = rng.randrange(len(data)), rng.randint(1, 12)
        kind = rng.randrange(7)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = rng.choice(
                b".()0123BCGIJKMNRTUX]abcehjqrstu}\x80\x85\x86\x8a\x8c\x93\x94\xff"
            )
        elif kind == 2:
            del data[at : at + length]
        elif kind == 3:
            data[at:at] = data[at : at + length] * rng.randint(1, 20)
        elif kind == 4:
            data[at:at] = rng.randbytes(length)
        elif kind == 5:
            other = rng.choice(others)
            start = rng.randrange(len(other))
            data[at : at + length] = other[start : start + rng.randint(1, 60)]
        else:
            del data[max(at, 20) :]
        if not data:
            return b""
    return bytes(data)


def fuzz_labels(count: int, seed: int = 0) -> list[tuple[bytes, BaseException]]:
    """Read damaged files; return those that raised anything but `DataError`, which is a fault."""
    rng = random.Random(seed)
    files = valid_files()
    escaped: list[tuple[bytes, BaseException]] = []
    for _ in range(count):
        content = damaged(rng.choice(files), rng, files)
        try:
            parse_cls_labels(content, CLASSES, "cls_labels.npy")
        except DataError:
            continue
        except Exception as error:
            escaped.append((content, error))
    return escaped
