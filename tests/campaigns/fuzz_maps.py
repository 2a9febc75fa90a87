"""CAM maps: the ``.npz`` file, and its arrays with right checksums."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np

from campaigns.fuzz_target import Target
from tag2mask.evaluation.evidence import map_evidence
from tag2mask.maps.cam_map import CamMap, read_map, write_map

_SIZE = (24, 20)
_TOKENS = (
    *(b"'|u1'", b"'<f2'", b"'<f4'", b"'>f8'", b"'<i4'", b"'|O'", b"'<U1'", b"'<M8[s]'", b"'|V9'"),
    *(b"'<c8'", b"'|S3'", b"[('a', '<f4')]", b"(1, 1000000, 1000000)", b"()", b"(0,)", b"(-1,)"),
    *(b"(1, 15000, 20000)", b"(1, 2, ", b"True", b"descr", b"shape", b"fortran_order", b"(9**99,)"),
    *(b"scores.npy", b"tags.npy", b"PK\x03\x04", b"PK\x01\x02", b"\x93NUMPY\x02\x00", b"\x00\x08"),
)


def _map(tags: tuple[int, ...], side: int) -> CamMap:
    rng = np.random.default_rng(len(tags))
    scores = rng.random((len(tags), side, side), np.float32)
    return CamMap("street/a", tags, scores, _SIZE, rng.random(3, np.float32))


def _write_maps(folder: Path) -> list[Path]:
    write_map(folder / "a.npz", _map((0, 2), 6))
    write_map(folder / "b.npz", _map((1,), 12), "float16")
    write_map(folder / "c.npz", _map((), 3))
    return [folder / f"{name}.npz" for name in "abc"]


def _read_map(file: Path) -> None:
    found = read_map(file)
    assert all(0 <= value <= 1 for value in map_evidence(found, 0.3).values())
    if found.size == _SIZE:  # else no step uses it
        assert found.full_scores().shape == (len(found.tags), *found.size)


def _write_arrays(folder: Path) -> list[Path]:
    with zipfile.ZipFile(_write_maps(folder)[0]) as archive:
        archive.extractall(folder / "arrays")
    return sorted((folder / "arrays").iterdir())


def _read_arrays(file: Path) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for array in sorted(file.parent.iterdir()):
            packed.writestr(array.name, array.read_bytes())
    whole = file.parents[1] / "whole.npz"
    whole.write_bytes(archive.getvalue())
    _read_map(whole)


TARGETS = (
    Target("CAM map", _write_maps, _read_map, _TOKENS),
    Target("arrays of a CAM map", _write_arrays, _read_arrays, _TOKENS),
)
