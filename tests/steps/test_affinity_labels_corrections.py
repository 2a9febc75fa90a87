"""Step affinity-labels with drawn masks in place of the CRFs' labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scenes import NAMES, OneRank, discs

from tag2mask.affinity.labels import label_path
from tag2mask.classes import ClassSet
from tag2mask.data.corrections.decisions import Decision
from tag2mask.data.corrections.folder import copy_corrections
from tag2mask.data.corrections.writing import open_corrections
from tag2mask.data.masks import read_mask
from tag2mask.recipe.crf import Crf
from tag2mask.recipe.maps_to_masks import AffinityLabeling
from tag2mask.steps.affinity_labels import affinity_labels


def test_drawn_masks_are_labels(tmp_path: Path) -> None:
    scene = discs(tmp_path)
    scene.write()
    for samples in scene.samples.values():
        for sample in samples:
            write_gray(sample.image, sample.size)
    drawn, other = (sample.id for sample in scene.samples["train"][:2])
    size = scene.samples["train"][0].size
    mask = np.full(size, 2, np.uint8)
    classes = ClassSet(NAMES)
    section = AffinityLabeling(crf=Crf(iterations=1), use_drawn=True)
    assert scene.data is not None and scene.maps is not None
    made = affinity_labels(scene.data, scene.maps, section, tmp_path / "out", OneRank())
    before = read_mask(label_path(made.path, drawn), len(NAMES))
    with open_corrections(tmp_path / "corrections", classes) as writer:
        writer.write(Decision(drawn, "corrected"), mask)
        copy_corrections(writer.corrections, scene.data.path / "corrections", classes)
    stamp = label_path(made.path, other).stat().st_mtime_ns
    made = affinity_labels(scene.data, scene.maps, section, tmp_path / "out", OneRank())
    after = read_mask(label_path(made.path, drawn), len(NAMES))
    assert (after == 2).all() and not np.array_equal(before, after)
    assert label_path(made.path, other).stat().st_mtime_ns == stamp
    assert made.manifest.counts["drawn"] == 1 and made.manifest.counts["computed"] == 1
    validation = scene.samples["val"][0]
    with open_corrections(tmp_path / "corrections", classes) as writer:
        writer.write(Decision(other, "bad"))
        writer.write(Decision(validation.id, "corrected"), np.ones(validation.size, np.uint8))
        copy_corrections(writer.corrections, scene.data.path / "corrections", classes)
    again = affinity_labels(scene.data, scene.maps, section, tmp_path / "out", OneRank())
    assert again.fingerprint == made.fingerprint, "no other mask is read"


def write_gray(path: Path, size: tuple[int, int]) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        Image.new("RGB", size[::-1], (120, 120, 120)).save(path)
