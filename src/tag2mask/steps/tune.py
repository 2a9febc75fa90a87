"""Command ``tune``: find the best settings of the walk on a few masked training photos.

Tries background α, β, the number of steps, and the background threshold of the masks. A photo's
affinity is computed once for all settings (`tag2mask.affinity.tuning`). It scores the masks
that ``walk`` and ``pseudo-masks`` would make, without the dense CRF. Writes ``photos.txt``,
``tuned.json``, ``table.csv`` and ``best.yaml``. It takes minutes, so an interrupted tuning starts
again from the beginning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock

import numpy as np
import torch

from tag2mask.affinity.tuning import (
    PhotoTallies,
    TunedWalk,
    WalkGrid,
    WalkSetting,
    WalkTallies,
    best_settings,
    count_photo,
    walked_scores,
)
from tag2mask.artifacts.handles import CamMaps, PreparedData, Tuning, WalkModel
from tag2mask.artifacts.items import skipped_lines
from tag2mask.artifacts.section_values import deciding_values, plain_values
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.data.index import Sample
from tag2mask.data.photos import read_photo
from tag2mask.errors import DataError, or_skipped
from tag2mask.maps.background_threshold import derived_alpha
from tag2mask.maps.cam_map import map_grid
from tag2mask.maps.mapped_photos import MappedPhotos, mapped_photos
from tag2mask.maps.threshold_sources import (
    CALIBRATION_THRESHOLDS,
    WALKED_THRESHOLD,
    drawn_masked_photos,
)
from tag2mask.metrics.confusion import Float64
from tag2mask.metrics.threshold_curve import Float32
from tag2mask.recipe.maps_to_masks import PseudoMasks, Tune, Walk
from tag2mask.runtime.session import Runtime
from tag2mask.runtime.threads import sized_map
from tag2mask.steps.threshold_choice import calibration_inputs, choose_background_threshold
from tag2mask.steps.tuning_result import TuningResult, setting_values, write_tuning
from tag2mask.steps.walk import WalkInference, walk_inference


def tune(
    data: PreparedData,
    maps: CamMaps,
    model: WalkModel,
    section: Tune,
    walk: Walk,
    masks: PseudoMasks,
    out: Path,
    runtime: Runtime,
) -> Tuning:
    """Try settings of the walk on a few masked training photos.

    Args:
        data: photos, classes and masks.
        maps: maps of these photos, before the walk.
        model: trained AffinityNet; with ``walk.affinity: attention``, the CAM network.
        section: what to try.
        walk: the recipe's walk; its α, β and steps are tried too.
        masks: the recipe's masks; a fixed background threshold is tried too.
        out: folder to write.
        runtime: where to run.

    Raises:
        RecipeError: as in `tag2mask.steps.walk.walk`.
        DataError: no training photo has a mask; a mask can't be used; maps missing, damaged or of
            other photos; a photo can't be read (unless ``skip_bad``).
        WeightsError: the model can't be read, or isn't finite.
        DeviceError: the GPU ran out of memory.
        RunFolderError: ``out`` was made with another model or other settings.
    """
    photos = mapped_photos(data, maps)
    chosen = drawn_masked_photos(data, photos, section.photos)
    if not chosen:
        raise DataError(
            "the walk can't be tuned: no training photo has a mask",
            where=data.path,
            fix="Give masks of a few training photos and prepare the data again, or keep the "
            "recipe's settings.",
        )
    threshold = masks.background_threshold if masks.threshold_from == "fixed" else WALKED_THRESHOLD
    walks = plain_values(walk)
    del walks["enabled"]
    settings = {
        **deciding_values(plain_values(section), section),
        "threshold": threshold,
        "walk": deciding_values(walks, walk),
    }
    with step_folder(
        Tuning,
        out,
        section=settings,
        inputs={"model": model},
        coverage={"data": data, "maps": maps, **calibration_inputs(data)},
        rank=runtime.rank,
    ) as step:
        if step.complete:
            return step.handle
        own = WalkSetting(_alpha(data, photos, walk, runtime), walk.beta, walk.steps)
        measurer = _Measurer(
            photos,
            dict(chosen),
            walk_inference(model, walk, runtime),
            section,
            walk,
            _grid(section, walk, own, threshold),
        )
        total, skipped = measurer.count_all([sample for sample, _ in chosen], runtime)
        miou = total.miou()
        if np.isnan(miou).any():
            raise DataError(
                "the walk can't be tuned: the masks are void everywhere",
                where=chosen[0][1],
                fix="Give masks with class numbers.",
            )
        skipped_ids = {photo_id for photo_id, _ in skipped}
        result = _result(
            measurer.grid,
            miou,
            own,
            threshold,
            tuple(sample.id for sample, _ in chosen if sample.id not in skipped_ids),
        )
        if runtime.rank == 0:
            write_tuning(step.path, result, walk, measurer.grid, miou)
        handle = step.finish(
            counts={"photos": len(result.photos), "settings": miou.size},
            metrics={
                "photos": list(result.photos),
                "best": setting_values(result.best),
                "untuned": setting_values(result.untuned),
            },
            skipped=skipped_lines(skipped),
        )
        runtime.barrier()
        return handle


def _alpha(data: PreparedData, photos: MappedPhotos, walk: Walk, runtime: Runtime) -> float:
    """Return α as ``walk`` finds it."""
    if walk.alpha is not None:
        return walk.alpha
    return round(
        derived_alpha(choose_background_threshold(data, photos, walk, runtime).threshold), 4
    )


def _grid(section: Tune, walk: Walk, own: WalkSetting, own_threshold: float) -> WalkGrid:
    thresholds = list(CALIBRATION_THRESHOLDS)
    if not np.isclose(thresholds, own_threshold, rtol=0, atol=1e-6).any():  # compared as float32
        thresholds = sorted([*thresholds, own_threshold])
    return WalkGrid(
        tuple(sorted({*section.alphas, own.alpha})),
        (own.beta,) if walk.affinity == "attention" else tuple(sorted({*section.betas, own.beta})),
        tuple(sorted({*section.steps, own.steps})),
        tuple(thresholds),
    )


class _Measurer:
    """Counts the pixels of photos at every setting of a grid."""

    def __init__(
        self,
        photos: MappedPhotos,
        masks: dict[Sample, Path],
        inference: WalkInference,
        section: Tune,
        walk: Walk,
        grid: WalkGrid,
    ) -> None:
        self.photos = photos
        self.masks = masks
        self.inference = inference
        self.section = section
        self.walk = walk
        self.grid = grid
        self.network = Lock()

    def count_all(
        self, samples: Sequence[Sample], runtime: Runtime
    ) -> tuple[WalkTallies, list[tuple[str, str]]]:
        """Return the counts over the photos of all ranks, and (id, reason) of skipped ones."""
        shares = runtime.gather_results(lambda: self._count_share(runtime.shard(samples), runtime))
        total = WalkTallies.empty(self.photos.classes, self.grid)
        for share, _ in shares:
            total.merge(share)
        return total, sorted(photo for _, part in shares for photo in part)

    def _count_share(
        self, samples: list[Sample], runtime: Runtime
    ) -> tuple[WalkTallies, list[tuple[str, str]]]:
        total, skipped = WalkTallies.empty(self.photos.classes, self.grid), []
        with runtime.progress(len(samples), f"tune {len(self.grid.settings)} walks") as bar:
            for sample, found in sized_map(self._count, samples, lambda sample: sample.pixels):
                if isinstance(found, PhotoTallies):
                    total.add(found)
                elif self.section.skip_bad:
                    skipped.append((sample.id, found.what))
                else:
                    raise or_skipped(found)
                bar.advance()
        return total, skipped

    def _count(self, sample: Sample, _: int) -> tuple[Sample, PhotoTallies | DataError]:
        """Count one photo, or return why it can't be read."""
        cam_map = self.photos.read(sample)
        truth = self.photos.read_mask(self.masks[sample], sample)
        if not cam_map.tags:
            return sample, count_photo(truth, (), [], self.grid)
        try:
            photo = read_photo(sample)
        except DataError as error:
            return sample, error
        with self.network:  # one photo at a time, to bound the memory
            found = self.inference.affinity(photo)
        cells = [found.to_grid(cam_map.scores, alpha) for alpha in self.grid.alphas]
        stored = map_grid(*cam_map.size, self.walk.map_stride)
        walked = walked_scores(
            found.walk,
            torch.stack([maps[0] for maps in cells]),
            cells[0][1:],
            grid=self.grid,
            from_grid=partial(found.from_grid, size=stored),
        )

        def as_masks_are_made(scores: Float32) -> Float32:
            return replace(cam_map, scores=scores).as_stored(self.walk.map_dtype).full_scores()

        return sample, count_photo(truth, cam_map.tags, map(as_masks_are_made, walked), self.grid)


def _result(
    grid: WalkGrid, miou: Float64, own: WalkSetting, own_threshold: float, photos: tuple[str, ...]
) -> TuningResult:
    ranked = tuple(best_settings(grid, miou))
    index = int(np.abs(np.array(grid.thresholds) - own_threshold).argmin())
    untuned = TunedWalk(own, grid.thresholds[index], float(miou[grid.settings.index(own), index]))
    return TuningResult(photos, untuned, ranked, tuple(grid.outermost(ranked[0].setting)))
