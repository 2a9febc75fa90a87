"""Step ``infer-cam``: compute multi-scale class activation maps and store them compactly.

Writes ``maps/<id>.npz``, resumable per photo and sharded over ranks. The journal records each
photo's stamp and tags, so that only new photos and those with other tags are computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tag2mask.artifacts.handles import CamMaps, CamModel, PreparedData
from tag2mask.artifacts.items import skipped_lines
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.data.index import Sample, read_classes, read_samples
from tag2mask.data.photos import read_photo
from tag2mask.errors import DataError, RecipeError
from tag2mask.maps.cam_map import CamMap, read_map, write_map
from tag2mask.maps.mapped_photos import map_shows_tags
from tag2mask.nn.backbones.attention import check_attention
from tag2mask.nn.inference_copy import inference_copy
from tag2mask.nn.weights import check_finite_weights
from tag2mask.recipe.sections import InferCam
from tag2mask.runtime.progress import ProgressBar
from tag2mask.runtime.session import Runtime
from tag2mask.seam.model import SeamSpec, load_seam
from tag2mask.seam.multi_scale_inference import InferenceSettings, MultiScaleInference, PhotoMaps
from tag2mask.seam.network import SeamNet
from tag2mask.seam.tiled_maps import MapTiles
from tag2mask.steps.photo_loops.empty_results import EmptyResults, empty_files
from tag2mask.steps.photo_loops.per_photo import (
    PhotoOutputs,
    has_all_files,
    map_files,
    prepared_ids,
)
from tag2mask.steps.trainers.fitting_sizes import note_long_side

TAG_SOURCE = {"known": "known", "untagged": "known or predicted", "predicted": "predicted"}
"""Origin of the tags, shown with every result that is based on the maps."""
_MOST_PROBABILITIES = 1000
"""Largest number of photos without a map whose probabilities are averaged for a message."""
CHUNK = 16
CHUNK_PIXELS = 100_000_000
"""Largest number of photos in memory at once, and of their pixels (3 bytes each)."""


def infer_cam(
    data: PreparedData,
    model: CamModel,
    section: InferCam,
    out: Path,
    runtime: Runtime,
    *,
    modules: Collection[str] = (),
) -> CamMaps:
    """Compute and store the maps of all photos of the chosen splits.

    Args:
        data: photos and tags.
        model: trained CAM network.
        section: settings.
        out: folder to write; maps of photos with the same stamp and tags are kept. In a complete
            folder, only missing maps are computed.
        runtime: where to run.
        modules: parts of the user's own that the network may have, as ``package.module:Class``;
            they are imported.

    Raises:
        RecipeError: refined maps are asked for, but the network has no PCM.
        DataError: a photo can't be read (unless ``skip_bad``) or changed since ``prepare``; the
            data has other classes than the model; the maps of all tagged photos are 0 everywhere.
        WeightsError: the model can't be read, or isn't finite.
        PartError: the model names a part that is not in ``modules``, or that can't be used.
        DeviceError: the GPU ran out of memory.
        RunFolderError: ``out`` was made with another model or other settings.
    """
    files = partial(map_files, out)
    with step_folder(
        CamMaps,
        out,
        section=section,
        inputs={"model": model},
        coverage={"data": data},
        rank=runtime.rank,
        has_all=has_all_files(files, partial(prepared_ids, data)),
    ) as step:
        if step.complete:
            return step.handle
        inference, spec = _load(model, data, section, runtime, modules)
        samples = read_samples(data.path, section.splits)
        outputs = PhotoOutputs(step, files, partial(_key, section=section))
        outputs.remove_missing({sample.id for sample in samples})
        write = partial(_write_maps, inference, section, files)
        computed, skipped = outputs.write(samples, write, runtime, skip_bad=section.skip_bad)
        empty, empty_metrics = _empty_maps(samples, files, runtime, out)
        handle = step.finish(
            counts={"photos": len(samples) - len(skipped), "computed": computed, **empty.counts},
            skipped=skipped_lines(skipped),
            metrics={
                "tags": TAG_SOURCE[section.tags],
                "branch": inference.settings.branch,
                "head": spec.head,
                "classes": list(spec.classes),
                **empty_metrics,
            },
        )
        runtime.barrier()
        return handle


def _load(
    model: CamModel,
    data: PreparedData,
    section: InferCam,
    runtime: Runtime,
    modules: Collection[str],
) -> tuple[MultiScaleInference, SeamSpec]:
    """Load the network and its specification, and check that it has the classes of the data."""
    path = model.file
    net, spec = load_seam(path, modules=modules)
    if read_classes(data.path).names != spec.classes:
        raise DataError(
            "the model was trained on different classes than the data has",
            where=data.path,
            fix="Train on this data, or give the data it was trained on.",
        )
    check_finite_weights(net, where=path, setting="train_cam.optimizer.lr")
    if section.behavior == "default":
        note_long_side(section.long_side, net.backbone, "infer_cam.long_side", runtime)
    return _inference(net, section, runtime), spec


def _inference(net: SeamNet, section: InferCam, runtime: Runtime) -> MultiScaleInference:
    return MultiScaleInference(
        inference_copy(net, runtime.device),
        inference_settings(net, section),
        runtime.device,
        partial(runtime.autocast, section.precision),
    )


def inference_settings(net: SeamNet, section: InferCam) -> InferenceSettings:
    """Return the settings of the inference that a section describes for a network."""
    return InferenceSettings(
        scales=section.scales,
        flip=section.flip,
        long_side=section.long_side,
        branch=_branch(net, section),
        gate_pcm=section.gate_by_tags,
        map_stride=section.map_stride,
        batch_views=section.batch_views,
        published=section.behavior == "published",
        tiles=None if section.tile is None else MapTiles(section.tile),
    )


def _branch(net: SeamNet, section: InferCam) -> Literal["refined", "plain", "attention"]:
    if section.branch == "auto":
        return "plain" if net.pcm is None else "refined"
    if section.branch == "refined" and net.pcm is None:
        raise RecipeError(
            "the model was trained without PCM and has no refined maps",
            where="infer_cam.branch",
            fix="Use branch: plain or auto.",
        )
    if section.branch == "attention":
        check_attention(net.backbone, where="infer_cam.branch", otherwise="auto")
    return section.branch


def _write_maps(
    inference: MultiScaleInference,
    section: InferCam,
    files: Callable[[str], Sequence[Path]],
    samples: Sequence[Sample],
    bar: ProgressBar,
) -> Iterator[tuple[Sample, DataError | None]]:
    """Compute and write maps; yield each photo once its map is written, or why it can't be read."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        for chunk in _chunks(_by_shape(samples)):
            photos: list[tuple[Sample, Image.Image]] = []
            read = pool.map(lambda sample: _try_read(sample, _needed(sample, inference)), chunk)
            for sample, photo in zip(chunk, read, strict=True):
                if isinstance(photo, DataError):
                    yield sample, photo
                else:
                    photos.append((sample, photo))
            if photos:
                yield from _write_chunk(photos, inference, section, files, pool)


def _write_chunk(
    photos: Sequence[tuple[Sample, Image.Image]],
    inference: MultiScaleInference,
    section: InferCam,
    files: Callable[[str], Sequence[Path]],
    pool: ThreadPoolExecutor,
) -> Iterator[tuple[Sample, None]]:
    samples, images = [sample for sample, _ in photos], [photo for _, photo in photos]
    tags = _tags(samples, images, inference, section)
    maps = inference.maps(images, tags, [sample.size for sample in samples])

    def write(sample: Sample, found: PhotoMaps) -> None:
        (path,) = files(sample.id)
        _write(path, sample, found, section)

    for sample, _ in zip(samples, pool.map(write, samples, maps), strict=True):
        yield sample, None


def _write(path: Path, sample: Sample, maps: PhotoMaps, section: InferCam) -> None:
    if not (np.isfinite(maps.scores).all() and np.isfinite(maps.probabilities).all()):
        raise DataError(
            f"the maps of {sample.id!r} aren't finite",
            where=sample.image,
            fix="Set infer_cam.precision to '32'; if it is, train the network again.",
        )
    cam_map = CamMap(
        id=sample.id,
        tags=maps.tags,
        scores=np.clip(maps.scores, 0, 1),
        size=sample.size,
        probabilities=maps.probabilities,
    )
    write_map(path, cam_map, dtype=section.map_dtype)


def _needed(sample: Sample, inference: MultiScaleInference) -> int | None:
    """Return the smallest long side, px, at which a photo may be decoded; None: full size."""
    return None if inference.settings.published else inference.largest_view(sample.size)


def _try_read(sample: Sample, at_least: int | None) -> Image.Image | DataError:
    try:
        return read_photo(sample, at_least=at_least)
    except DataError as error:
        return error


def _tags(
    samples: Sequence[Sample],
    images: Sequence[Image.Image],
    inference: MultiScaleInference,
    section: InferCam,
) -> list[tuple[int, ...]]:
    """Return the classes that each photo gets maps of."""
    tags = [sample.tags for sample in samples]
    due = [
        index
        for index, known in enumerate(tags)
        if section.tags == "predicted" or (section.tags == "untagged" and not known)
    ]
    if due:
        found = inference.probabilities([images[i] for i in due], [samples[i].size for i in due])
        for index, probabilities in zip(due, found, strict=True):
            tags[index] = _predicted(probabilities, section)
    return tags


def _predicted(probabilities: NDArray[np.float32], section: InferCam) -> tuple[int, ...]:
    """Return the classes above the threshold, and the most probable one in any case."""
    tags = set(np.flatnonzero(probabilities >= section.tag_threshold).tolist())
    tags.add(int(probabilities.argmax()))
    return tuple(sorted(tags))


def _empty_maps(
    samples: Sequence[Sample],
    files: Callable[[str], Sequence[Path]],
    runtime: Runtime,
    out: Path,
) -> tuple[EmptyResults, dict[str, Any]]:
    """Find the tagged photos whose maps are 0 everywhere; return them and their metrics.

    Raises:
        DataError: those of all tagged photos are.
    """
    empty = empty_files(samples, files, lambda _, path: map_shows_tags(path, 0.0), runtime)
    found = [
        float(probability)
        for photo_id in empty.ids[:_MOST_PROBABILITIES]
        for probability in _tag_probabilities(files(photo_id)[0])
    ]
    average = np.mean(found) if found else 0.0
    return empty, empty.checked_metrics(
        out,
        "the maps of {} are 0 everywhere: the classifier finds none of their tags (probability "
        f"{average:.2f} on average)",
        "Train it longer (train_cam.epochs; in a run with `--redo train-cam`), tag more photos of "
        "these classes, or correct wrong tags.",
    )


def _tag_probabilities(path: Path) -> NDArray[np.float32]:
    cam_map = read_map(path)
    return cam_map.probabilities[list(cam_map.tags)]


def _key(sample: Sample, section: InferCam) -> str:
    """Return what decides a photo's maps besides model and settings."""
    if section.tags == "predicted":
        return sample.stamp
    return f"{sample.stamp} {','.join(map(str, sample.tags))}"


def _by_shape(samples: Sequence[Sample]) -> list[Sample]:
    """Sort photos by size, so that their views share batches."""
    return sorted(samples, key=lambda sample: (sample.size, sample.id))


def _chunks(samples: Sequence[Sample]) -> Iterator[Sequence[Sample]]:
    """Yield photos that are in memory at once; a photo above the limit is alone."""
    chunk: list[Sample] = []
    pixels = 0
    for sample in samples:
        height, width = sample.size
        if chunk and (len(chunk) == CHUNK or pixels + height * width > CHUNK_PIXELS):
            yield chunk
            chunk, pixels = [], 0
        chunk.append(sample)
        pixels += height * width
    if chunk:
        yield chunk
