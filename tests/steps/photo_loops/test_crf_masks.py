"""Masks of maps after a dense CRF, made for comparison."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from walked import drawn_by, photographed

from tag2mask.artifacts.handles import Evaluation
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.crf.dense_crf import PUBLISHED_CRF
from tag2mask.data.masks import crf_mask_path
from tag2mask.maps.mapped_photos import mapped_photos
from tag2mask.steps.photo_loops.crf_masks import CrfMasks


def test_another_threshold_makes_every_crf_mask_again(scene, one_rank) -> None:
    photographed(scene)
    photos = mapped_photos(scene.data, drawn_by(scene, "plain", name="cam"))
    samples = photos.splits["train"]
    colors, settings = ((0, 0, 0),) * 4, replace(PUBLISHED_CRF, iterations=1)

    def made(threshold: float, folder: Path) -> list[bytes]:
        coverage = {"masks": str(threshold)}
        with step_folder(Evaluation, folder, section={}, coverage=coverage) as step:
            CrfMasks(photos, colors, settings, threshold).make(step, samples, one_rank)
            step.finish()
        return [crf_mask_path(folder, sample.id).read_bytes() for sample in samples]

    both, alone = scene.root / "both", scene.root / "alone"
    first = made(0.7, both)
    assert made(0.1, both) == made(0.1, alone) != first
