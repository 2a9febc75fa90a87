"""Step ``pseudo-masks``: maps to palette PNGs, by argmax with one background score.

Reads maps, and masks only where the background score is to be calibrated with some. Writes
``masks/<id>.png``, resumable per photo and sharded over ranks. A photo's mask is made anew only
when its map or the background score changed.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tag2mask.artifacts import CamMaps, PreparedData, PseudoMaskFolder, Step, step_folder
from tag2mask.data.background_score import choose_background_score
from tag2mask.data.mapped import MappedPhotos, mapped_photos
from tag2mask.data.masks import write_mask
from tag2mask.data.samples import Sample, masks_fingerprint, read_classes
from tag2mask.ops.parallel import ordered_map
from tag2mask.ops.thresholds import labels_from_scores
from tag2mask.runtime import Runtime
from tag2mask.sections import PseudoMasks


def pseudo_masks(data: PreparedData, maps: CamMaps, section: PseudoMasks, out: Path,
                 runtime: Runtime) -> PseudoMaskFolder:
    """Make the pseudo mask of every photo that has maps.

    Args:
        data: photos and classes.
        maps: maps of these photos.
        section: settings.
        out: folder to write; masks whose map and background score are unchanged are kept, even in a
            complete folder only those are made whose file is lost.
        runtime: where to run.

    Raises:
        DataError: maps missing, damaged or of other photos; no photo to calibrate on; maps from
            which no background score can be estimated.
        RunFolderError: ``out`` was made with other maps or other settings, or can't be written.
    """
    coverage: dict[str, PreparedData | CamMaps | str] = {"data": data, "maps": maps}
    if section.background == "calibrated":
        coverage["ground truth"] = masks_fingerprint(data.path)
    with step_folder(PseudoMaskFolder, out, section=section, coverage=coverage,
                     rank=runtime.rank) as step:
        if step.complete and all(_mask_path(step, item).is_file() for item in step.items()):
            return step.handle
        photos = mapped_photos(data, maps, len(read_classes(data.path)))
        background = choose_background_score(data, photos, section, runtime)
        samples = list({s.id: s for split in photos.splits.values() for s in split}.values())
        step.drop_vanished({sample.id for sample in samples}, partial(_mask_path, step))
        runtime.barrier()
        made = runtime.together(
            lambda: _write_masks(data, photos, samples, background.score, step, runtime))
        counts = {"photos": len(samples), "computed": sum(made)}
        handle = step.finish(counts=counts, metrics=background.metrics(), skipped=photos.skipped)
        runtime.barrier()
        return handle


def _write_masks(data: PreparedData, photos: MappedPhotos, samples: list[Sample], score: float,
                 step: Step[PseudoMaskFolder], runtime: Runtime) -> int:
    """Write this rank's masks that are not there yet; returns how many."""
    colours = read_classes(data.path).colours

    def key(sample: Sample) -> str:
        return f"{score:g} {photos.stamp(sample.id)}"

    def make(sample: Sample) -> tuple[Sample, str]:
        made_from = key(sample)
        cam_map = photos.read(sample)
        labels = labels_from_scores(cam_map.full_scores(), cam_map.tags, score, sample.size)
        path = _mask_path(step, sample.id)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_mask(path, labels, colours)
        return sample, made_from

    due = [sample for sample in runtime.shard(samples) if step.item_key(sample.id) != key(sample)
           or not _mask_path(step, sample.id).is_file()]
    with runtime.progress(len(due), "pseudo-masks") as bar:
        for sample, made_from in ordered_map(make, due):
            step.record_item(sample.id, made_from)
            bar.advance()
    return len(due)


def _mask_path(step: Step[PseudoMaskFolder], photo_id: str) -> Path:
    return step.path / "masks" / f"{photo_id}.png"
