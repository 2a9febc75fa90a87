"""Valid and damaged files ``cls_labels.npy``, for tests and for `fuzz_labels`."""

from __future__ import annotations

import io
import pickle
import random

import numpy as np

from campaigns.fuzz_damage import damaged
from tag2mask.data.layouts.voc.cls_labels import parse_cls_labels
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


_OPCODES = tuple(
    bytes([code]) for code in b".()0123BCGIJKMNRTUX]abcehjqrstu}\x80\x85\x86\x8a\x8c\x93\x94\xff"
)


def fuzz_labels(count: int, seed: int = 0) -> list[tuple[bytes, BaseException]]:
    """Read damaged files; return those that raised anything but `DataError`, which is a fault."""
    rng = random.Random(seed)
    files = valid_files()
    escaped: list[tuple[bytes, BaseException]] = []
    for _ in range(count):
        content = damaged(rng.choice(files), rng, files, _OPCODES)
        try:
            parse_cls_labels(content, CLASSES, "cls_labels.npy")
        except DataError:
            continue
        except Exception as error:
            escaped.append((content, error))
    return escaped
