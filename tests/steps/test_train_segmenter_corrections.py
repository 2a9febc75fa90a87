"""Step train-segmenter with corrections: which masks teach it, which photos are left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from segmenter_scenes import mask_drawer

from small_runs import one_rank, recipe, write_photos
from tag2mask.artifacts.handles import PreparedData, PseudoMaskFolder, SegmenterModel
from tag2mask.classes import ClassSet
from tag2mask.data.corrections.decisions import Decision
from tag2mask.data.corrections.writing import open_corrections
from tag2mask.data.index import read_index
from tag2mask.data.splits import SPLITS
from tag2mask.errors import DataError, RunFolderError
from tag2mask.segmentation.labels import pseudo_labeled
from tag2mask.steps.prepare import prepare
from tag2mask.steps.train_segmenter import train_segmenter

CLASSES = ClassSet(("cat", "dog", "bird"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "photos")


def corrected(photos: Path, folder: Path, *decisions: Decision) -> PreparedData:
    """Prepare photos with decisions; drawn and accepted masks are class 3 on the upper half."""
    plain = prepare(photos, recipe().prepare, folder / "plain")
    photos_of = (sample for split in SPLITS for sample in read_index(plain.path, split))
    sizes = {sample.id: sample.size for sample in photos_of}
    with open_corrections(folder / "corrections", CLASSES) as writer:
        for decision in decisions:
            mask = np.zeros(sizes[decision.photo], np.uint8)
            mask[: len(mask) // 2] = 3
            drawn = decision.verdict in ("corrected", "good")
            writer.write(decision, mask if drawn else None)
    return prepare(photos, recipe().prepare, folder / "prepare", corrections=folder / "corrections")


def train(
    data: PreparedData, masks: PseudoMaskFolder, out: Path, /, **changes: Any
) -> SegmenterModel:
    changed = {f"train_segmenter__{key}": value for key, value in changes.items()}
    return train_segmenter(data, masks, recipe(**changed).train_segmenter, out, one_rank())


def test_drawn_and_accepted_masks_replace_pseudo_masks(photos: Path, tmp_path: Path) -> None:
    decisions = Decision("a/00", "corrected"), Decision("b/01", "good"), Decision("a/02", "bad")
    data = corrected(photos, tmp_path, *decisions, Decision("a/04", "unsure"))
    masks = mask_drawer(data, tmp_path / "pseudo-masks")
    found = pseudo_labeled(data, masks)
    own = data.path / "corrections" / "masks"
    assert found.labels["a/00"] == own / "a/00.png"
    assert found.labels["b/01"] == own / "b/01.png"
    assert found.labels["a/04"] == masks.path / "masks" / "a/04.png"
    assert "a/02" not in found.labels and found.bad == ("a/02",)
    assert found.sure == {"a/00", "b/01"}
    assert found.counts(found.samples) == {"drawn": 1, "imported": 0, "accepted": 1, "made": 6}
    manifest = train(data, masks, tmp_path / "out", max_steps=1).manifest
    assert manifest.counts["drawn"] == 1 and manifest.counts["bad"] == 1
    assert manifest.metrics["bad"] == ["a/02"]


def test_a_drawn_photo_without_a_pseudo_mask_is_learned(photos: Path, tmp_path: Path) -> None:
    data = corrected(photos, tmp_path, Decision("a/00", "corrected"))
    masks = mask_drawer(data, tmp_path / "pseudo-masks", without=("a/00",))
    assert "a/00" in pseudo_labeled(data, masks).labels


def test_other_corrections_are_other_inputs(photos: Path, tmp_path: Path) -> None:
    data = corrected(photos, tmp_path, Decision("a/00", "corrected"))
    masks = mask_drawer(data, tmp_path / "pseudo-masks")
    before = train(data, masks, tmp_path / "out", max_steps=1).manifest
    data = corrected(photos, tmp_path, Decision("a/02", "unsure"))
    assert train(data, masks, tmp_path / "out", max_steps=1).manifest == before
    data = corrected(photos, tmp_path, Decision("b/03", "bad"))  # a validation photo
    assert train(data, masks, tmp_path / "out", max_steps=1).manifest == before
    data = corrected(photos, tmp_path, Decision("a/02", "bad"))
    with pytest.raises(RunFolderError, match=r"input corrections: \w+\.\. -> "):
        train(data, masks, tmp_path / "out", max_steps=1)


def test_a_mixture_needs_a_drawn_mask(photos: Path, tmp_path: Path) -> None:
    data = corrected(photos, tmp_path, Decision("a/02", "bad"))
    masks = mask_drawer(data, tmp_path / "pseudo-masks")
    with pytest.raises(DataError, match="no training photo has a drawn or accepted mask"):
        train(data, masks, tmp_path / "out", masks="mixed")


def test_masks_of_the_data_are_no_drawn_masks(tmp_path: Path) -> None:
    data = corrected(write_photos(tmp_path / "photos", masks=True), tmp_path)
    masks = mask_drawer(data, tmp_path / "pseudo-masks")
    with pytest.raises(DataError, match="no training photo has a drawn or accepted mask"):
        train(data, masks, tmp_path / "out", masks="mixed")


def test_drawn_masks_teach_more_in_a_mixture(photos: Path, tmp_path: Path) -> None:
    """Only drawn masks show class 3 on the upper half; with a share of 1 nothing else is seen."""
    data = corrected(photos, tmp_path, Decision("a/00", "corrected"))
    masks = mask_drawer(data, tmp_path / "pseudo-masks")

    def weights(name: str, **changes: Any) -> dict[str, torch.Tensor]:
        return load_file(train(data, masks, tmp_path / name, epochs=2, **changes).file)

    pseudo = weights("pseudo")
    alone = weights("alone", masks="mixed", drawn_share=1.0)
    heavier = weights("heavier", masks="mixed", drawn_share=0.5, drawn_weight=10.0)
    even = weights("even", masks="mixed", drawn_share=0.5)
    assert not same(pseudo, alone) and not same(even, heavier) and not same(even, alone)


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)
