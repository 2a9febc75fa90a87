"""Step ``walk``: refine maps by a random walk along the affinities of their photo.

The affinities are those of AffinityNet, or the attention of the CAM network's ViT.

The background map (1 - max)^α takes part in the walk. The result is stored as maps of the
foreground only, in which a class exceeds 0.5 exactly where it exceeds the walked background. So
every step that reads the maps of ``infer-cam`` can read these. Writes ``maps/<id>.npz``, resumable
per photo and sharded over ranks, and ``background.json``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import nn

from tag2mask.affinity.attention import AttentionInference
from tag2mask.affinity.inference import AffinityInference, load_affinity_inference
from tag2mask.artifacts.handles import (
    AffinityModel,
    AnyMaps,
    CamModel,
    PreparedData,
    WalkedMaps,
    WalkModel,
    walk_model,
)
from tag2mask.artifacts.items import skipped_lines
from tag2mask.artifacts.step_folder import Step, step_folder
from tag2mask.data.index import Sample, read_classes
from tag2mask.data.photos import read_photo
from tag2mask.errors import DataError, RecipeError
from tag2mask.maps.background_threshold import against_background, derived_alpha
from tag2mask.maps.cam_map import CamMap, map_grid, write_map
from tag2mask.maps.mapped_photos import MappedPhotos, map_shows_tags, mapped_photos
from tag2mask.maps.threshold_sources import WALKED_THRESHOLD
from tag2mask.nn.backbones.attention import check_attention
from tag2mask.nn.inference_copy import inference_copy
from tag2mask.nn.weights import check_finite_weights
from tag2mask.recipe.maps_to_masks import Walk
from tag2mask.runtime.progress import ProgressBar
from tag2mask.runtime.session import Runtime
from tag2mask.runtime.threads import SMALL_PIXELS
from tag2mask.runtime.torch_threads import small_first_map
from tag2mask.seam.model import load_backbone
from tag2mask.steps.photo_loops.empty_results import EmptyResults, empty_files
from tag2mask.steps.photo_loops.per_photo import (
    PhotoOutputs,
    has_all_files,
    is_large,
    map_files,
    prepared_ids,
)
from tag2mask.steps.threshold_choice import kept_background_threshold
from tag2mask.steps.trainers.fitting_sizes import note_long_side

WalkInference = AffinityInference | AttentionInference


def walk(
    data: PreparedData,
    maps: AnyMaps,
    model: WalkModel,
    section: Walk,
    out: Path,
    runtime: Runtime,
) -> WalkedMaps:
    """Refine and store the maps of all photos that have maps.

    Args:
        data: photos and classes.
        maps: maps of these photos.
        model: trained AffinityNet; with ``affinity: attention``, the CAM network.
        section: settings.
        out: folder to write; results whose photo and map are unchanged are kept. In a complete
            folder, only missing ones are computed.
        runtime: where to run.

    Raises:
        RecipeError: the CAM network is no ViT, or the model isn't the one that ``affinity`` needs.
        DataError: maps missing, damaged, of other photos or classes; a photo can't be read (unless
            ``skip_bad``); no background threshold can be found.
        WeightsError: the model can't be read, or isn't finite.
        DeviceError: the GPU ran out of memory.
        RunFolderError: ``out`` was made with another model, other maps or settings.
    """
    files = partial(map_files, out)
    with step_folder(
        WalkedMaps,
        out,
        section=section,
        inputs={"model": model},
        coverage={"data": data, "maps": maps},
        rank=runtime.rank,
        has_all=has_all_files(files, partial(prepared_ids, data)),
    ) as step:
        if step.complete:
            return step.handle
        photos = mapped_photos(data, maps)
        metrics = {"tags": photos.tag_source, "classes": list(read_classes(data.path).names)}
        if section.alpha is None:
            background = kept_background_threshold(step.path, data, photos, section, runtime)
            alpha = round(derived_alpha(background.threshold), 4)
            metrics |= background.metrics()
        else:
            alpha = section.alpha
        walker = _Walker(photos, walk_inference(model, section, runtime), section, alpha, step)
        samples = photos.samples
        walker.outputs.remove_missing({sample.id for sample in samples})
        computed, skipped = walker.outputs.write(
            samples, walker.write, runtime, skip_bad=section.skip_bad
        )
        empty = empty_files(
            samples, files, lambda _, path: map_shows_tags(path, WALKED_THRESHOLD), runtime
        )
        handle = step.finish(
            counts={"photos": len(samples) - len(skipped), "computed": computed, **empty.counts},
            metrics={**metrics, "alpha": alpha, **_empty_metrics(empty, alpha)},
            skipped=[*photos.skipped, *skipped_lines(skipped)],
        )
        runtime.barrier()
        return handle


def _empty_metrics(empty: EmptyResults, alpha: float) -> dict[str, Any]:
    # No error even if these are all photos: pseudo-masks may have a threshold below that of `auto`.
    return empty.metrics(
        "after the walk the background exceeds every tag of {} everywhere",
        f"Set a larger walk.alpha (now {alpha:g}), which makes the background weaker, or fewer "
        "walk.steps; or train the classifier longer (train_cam.epochs).",
    )


def walk_inference(model: WalkModel, section: Walk, runtime: Runtime) -> WalkInference:
    """Return what computes the affinities of photos with the settings of ``walk``.

    Raises:
        RecipeError: the CAM network is no ViT, or the model isn't the one that ``affinity`` needs.
        WeightsError: the model can't be read, or isn't finite.
    """
    needed = walk_model(section.affinity)
    if not isinstance(model, needed):
        raise RecipeError(
            f"affinity {section.affinity} needs the network of {needed.step}, not of {model.step}",
            where="walk.affinity",
            fix=f"Give the folder of {needed.step}, or set another affinity.",
        )
    if isinstance(model, CamModel):
        return _attention_inference(model, section, runtime)
    return _trained_inference(model, section, runtime)


def _attention_inference(model: CamModel, section: Walk, runtime: Runtime) -> AttentionInference:
    """Return the attention of a CAM network with the settings of ``walk``."""
    backbone = load_backbone(model.file)
    check_attention(backbone, where="walk.affinity", otherwise="trained")
    assert isinstance(backbone, nn.Module)
    note_long_side(section.long_side, backbone, "walk.long_side", runtime)
    check_finite_weights(backbone, where=model.file, setting="train_cam.optimizer.lr")
    return AttentionInference(
        inference_copy(backbone, runtime.device),
        runtime.device,
        long_side=section.long_side,
        autocast=partial(runtime.autocast, section.precision),
    )


def _trained_inference(model: AffinityModel, section: Walk, runtime: Runtime) -> AffinityInference:
    """Return AffinityNet of a trained model with the settings of ``walk``."""
    inference = load_affinity_inference(
        model.file,
        runtime.device,
        radius=section.radius,
        long_side=section.long_side,
        scales=section.scales,
        published=section.behavior == "published",
        autocast=partial(runtime.autocast, section.precision),
    )
    if section.behavior == "default":
        note_long_side(section.long_side, inference.net.backbone, "walk.long_side", runtime)
    return inference


class _Walker:
    """Walks the maps of photos and writes them."""

    def __init__(
        self,
        photos: MappedPhotos,
        inference: WalkInference,
        section: Walk,
        alpha: float,
        step: Step[WalkedMaps],
    ) -> None:
        self.photos = photos
        self.inference = inference
        self.section = section
        self.alpha = alpha
        self.outputs = PhotoOutputs(step, partial(map_files, step.path), self._key)

    def write(
        self, samples: Sequence[Sample], bar: ProgressBar
    ) -> Iterator[tuple[Sample, DataError | None]]:
        """Walk and write the maps of photos; yield each photo, or why it can't be read."""
        yield from small_first_map(self._write_one, samples, self._is_small)

    def _key(self, sample: Sample) -> str:
        return f"{self.alpha:g} {sample.stamp} {self.photos.stamp(sample.id)}"

    def _is_small(self, sample: Sample) -> bool:
        """Return whether a photo may be walked beside others."""
        sides = (
            self.inference.input.view_size(sample.size, scale) for scale in self.section.scales
        )
        pixels = max(height * width for height, width in sides)
        most = SMALL_PIXELS
        if isinstance(self.inference, AttentionInference):
            most = min(most, self.inference.small_pixels)
        return pixels <= most and not is_large(sample.size)

    def _write_one(self, sample: Sample) -> DataError | None:
        """Walk and write a photo's map; return why it can't be read, if so."""
        cam_map = self.photos.read(sample)
        try:
            photo = read_photo(sample) if cam_map.tags else None
        except DataError as error:
            return error
        (path,) = self.outputs.files(sample.id)
        write_map(path, self._walked(cam_map, photo), dtype=self.section.map_dtype)
        return None

    def _walked(self, cam_map: CamMap, photo: Image.Image | None) -> CamMap:
        """Return the map after the walk, on the grid of ``map_stride``."""
        grid = map_grid(*cam_map.size, self.section.map_stride)
        scores = np.zeros((0, *grid), np.float32)
        if photo is not None:
            found = self.inference.affinity(photo)
            walked = found.walk(self.section.beta).run(
                found.to_grid(cam_map.scores, self.alpha), steps=self.section.steps
            )
            scores = np.clip(against_background(found.from_grid(walked, grid)), 0, 1)
        return CamMap(cam_map.id, cam_map.tags, scores, cam_map.size, cam_map.probabilities)
