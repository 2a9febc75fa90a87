"""Step ``train-segmenter``: train a segmentation network on the pseudo masks.

Masks that were drawn or accepted in the corrections of ``prepare/`` replace pseudo masks.

Reads masks of the data only if the recipe asks for it: to learn from ground truth (as an upper
bound) or to validate during training. Writes ``model.safetensors``, ``losses.csv`` and
``tensorboard/``, and ``checkpoint.pt`` until it is finished. With validation it also writes
``validation.csv``, the best network as ``model.safetensors`` and the last as ``last.safetensors``.

Photos skipped during training are recorded in the folder's item journal, so that a resumed training
still lists them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tag2mask.artifacts.handles import (
    IMPORTED,
    MASKS_MADE_BY,
    MODEL_FILE,
    WITHOUT_TAGGED_PIXELS,
    CamModel,
    Handle,
    PreparedData,
    PseudoMaskFolder,
    SegmenterModel,
)
from tag2mask.artifacts.items import SkippedItems
from tag2mask.artifacts.step_folder import Step, step_folder
from tag2mask.classes import BACKGROUND, IGNORE
from tag2mask.data.corrections.folder import CORRECTIONS, corrections_of
from tag2mask.data.index import Sample, masks_fingerprint, read_classes
from tag2mask.data.photos import read_sample_mask
from tag2mask.errors import DataError, in_section
from tag2mask.files.atomic import atomic_write
from tag2mask.recipe.train_segmenter import TrainSegmenter
from tag2mask.runtime.session import Runtime
from tag2mask.segmentation.labels import (
    LabeledPhotos,
    labeled_by_hand,
    no_sure_masks,
    pseudo_labeled,
    validation_photos,
)
from tag2mask.segmentation.loading import check_not_exported
from tag2mask.segmentation.networks import (
    build_segmenter,
    load_segmenter,
    save_segmenter,
)
from tag2mask.steps.photo_loops.empty_results import EmptyResults, empty_results, shows_any
from tag2mask.steps.photo_loops.per_photo import check_masks_as_written
from tag2mask.steps.trainers.segmenter_start import first_weights, start_from, start_inputs
from tag2mask.steps.trainers.segmenter_task import LAST, SegmenterTask, segmenter_spec
from tag2mask.steps.trainers.segmenter_validation import Validation
from tag2mask.steps.trainers.training import (
    class_warnings,
    finish_training,
    import_network,
    network_optimizer,
)
from tag2mask.training.log import best_of_validation
from tag2mask.training.loop import fit
from tag2mask.training.skipped import SkippedPhotos

WITHOUT = "without_masks"
BAD = "bad"


def train_segmenter(
    data: PreparedData,
    masks: PseudoMaskFolder | None,
    section: TrainSegmenter,
    out: Path,
    runtime: Runtime,
    cam: CamModel | None = None,
) -> SegmenterModel:
    """Train a segmentation network.

    Args:
        data: photos.
        masks: their pseudo masks; not used, and may be None, with ``masks: ground truth``.
        section: settings.
        out: folder to write; a partial one of the same settings is resumed from its checkpoint.
        runtime: where to run.
        cam: the trained CAM network that the encoder starts from with ``network.weights: cam``.

    Raises:
        DataError: no mask shows any foreground; masks missing, replaced since their step wrote
            them, or of other photos or classes; none
            in the data where they are asked for; a photo can't be read (unless ``skip_bad``).
        RecipeError: unknown network, or one that can't do what is asked; a crop that doesn't fit
            it; batches too small for the devices; no CAM network to start from.
        WeightsError: the weights or the checkpoint can't be used; ``init_from`` is of another
            architecture.
        DeviceError: out of memory, on the device or where photos are read.
        RunFolderError: ``out`` was made with other settings, data or masks.
    """
    with step_folder(
        SegmenterModel,
        out,
        section=section,
        inputs=_inputs(data, masks, section, out, cam),
        rank=runtime.rank,
    ) as step:
        if step.complete:
            return step.handle
        if section.masks == "ground truth":
            photos = labeled_by_hand(data)
        else:
            assert masks is not None
            check_masks_as_written(masks, runtime)
            photos = pseudo_labeled(data, masks)
        if section.masks == "mixed" and not photos.sure:
            raise no_sure_masks(data.path)
        training = _SegmenterTraining(data, section, runtime, step, first_weights(section, cam))
        empty = training.empty_masks(photos)
        left_out = set(empty.ids)
        samples = [sample for sample in photos.samples if sample.id not in left_out]
        metrics = training.run(samples, photos)
        skipped = training.skipped.lines()
        unread = SkippedItems(skipped)
        lost = [sample for sample in samples if sample.id in unread]
        return finish_training(
            step,
            runtime,
            counts={
                "photos": len(samples) - len(lost),
                WITHOUT: len(photos.without),
                **photos.counts(samples),
                **({BAD: len(photos.bad)} if photos.bad else {}),
                **empty.counts,
            },
            metrics={
                "masks": section.masks,
                **_made_by(masks),
                **metrics,
                WITHOUT: photos.without,
                **({BAD: list(photos.bad)} if photos.bad else {}),
                **({WITHOUT_TAGGED_PIXELS: list(empty.ids)} if empty.ids else {}),
            },
            skipped=skipped,
        )


def import_model(file: Path, out: Path) -> SegmenterModel:
    """Make a ``train-segmenter`` folder of a model trained elsewhere.

    Raises:
        WeightsError: the file is not a known segmentation network, is cut off or was exported.
    """
    check_not_exported(file)
    net, spec = load_segmenter(file)  # before a folder is opened: a bad file leaves nothing behind
    return import_network(SegmenterModel, file, out, lambda path: save_segmenter(path, net, spec))


def _inputs(
    data: PreparedData,
    masks: PseudoMaskFolder | None,
    section: TrainSegmenter,
    out: Path,
    cam: CamModel | None,
) -> dict[str, Handle | str]:
    """Return everything that decides what the network learns."""
    inputs: dict[str, Handle | str] = {"data": data}
    if section.masks != "ground truth":
        assert masks is not None
        inputs["masks"] = masks
        if labels := corrections_of(data.path).learned_fingerprint(data.path):
            inputs[CORRECTIONS] = labels
    if section.masks == "ground truth" or section.validate_epochs:
        inputs["ground truth"] = masks_fingerprint(data.path)
    return {**inputs, **start_inputs(section, cam, out)}


def _made_by(masks: PseudoMaskFolder | None) -> dict[str, str]:
    """Return who made imported masks, for the manifest; empty for pseudo masks of the run."""
    found = None if masks is None else masks.manifest.metrics.get(IMPORTED)
    return {} if found is None else {MASKS_MADE_BY: found}


class _SegmenterTraining:
    """The training of the network."""

    def __init__(
        self,
        data: PreparedData,
        section: TrainSegmenter,
        runtime: Runtime,
        step: Step[SegmenterModel],
        weights: str,
    ) -> None:
        self.classes = read_classes(data.path)
        self.section = section
        self.runtime = runtime
        self.step = step
        self.weights = weights
        self.skipped = SkippedPhotos(
            step, runtime, allowed=section.skip_bad, batch_setting="train_segmenter.batch_size"
        )
        self.validated = validation_photos(data.path) if section.validate_epochs else None

    def run(self, samples: list[Sample], photos: LabeledPhotos) -> dict[str, Any]:
        """Train the network on some of the photos, write it, and return what the manifest keeps."""
        section, runtime, folder = self.section, self.runtime, self.step.path
        with runtime.seeded(section.seed):
            spec = segmenter_spec(section, self.classes, samples)
            with in_section("train_segmenter"):
                net = build_segmenter(spec, weights=self.weights)
            validation = (
                None
                if self.validated is None
                else Validation(*self.validated, spec, section, folder, runtime, self.skipped)
            )
            task = SegmenterTask(
                net,
                samples,
                photos.labels,
                len(self.classes),
                section,
                runtime,
                self.skipped,
                validation,
                photos.sure,
            )
            # The task may have drawn the last layer again.
            match = None if section.init_from is None else start_from(net, spec, section.init_from)
            summary = fit(
                task,
                network_optimizer(task.module, task.new_parameters(), section),
                task.settings,
                folder,
                runtime,
                name="train-segmenter",
            )
        if runtime.rank == 0:
            with atomic_write(folder / (LAST if self.validated else MODEL_FILE)) as temporary:
                save_segmenter(temporary, net, spec)
        runtime.barrier()
        scored = {} if validation is None else {"validation_miou": best_of_validation(folder)}
        warnings = class_warnings(match, "train_segmenter.init_from")
        return {"steps": task.settings.steps, **summary, **scored, **warnings}

    def empty_masks(self, photos: LabeledPhotos) -> EmptyResults:
        """Return the photos to leave out, because their pseudo masks show none of their tags.

        Where no mask shows a tag of its photo, the tags don't apply and all photos are used.

        Raises:
            DataError: no mask has foreground, or one is damaged (unless ``skip_bad``).
        """
        labels, count = photos.labels, len(self.classes)
        with_classes: list[str] = []

        def shows_tags(sample: Sample) -> bool | None:
            try:
                mask = read_sample_mask(sample, labels[sample.id], count)
            except DataError:
                if not self.section.skip_bad:
                    raise
                return None  # training reports it
            if ((mask != BACKGROUND) & (mask != IGNORE)).any():
                with_classes.append(sample.id)
            # A person may have drawn that the photo shows none of its tags.
            checked = sample.tags and sample.id not in photos.sure
            return shows_any(mask, sample.tags) if checked else None

        empty = empty_results(photos.samples, shows_tags, self.runtime)
        if not any(self.runtime.gather_results(lambda: with_classes)):
            raise DataError(
                "no training mask shows a single pixel of any class",
                where=next(iter(labels.values())).parent,
                fix="Look at the maps: a lower pseudo_masks.background_threshold, or more "
                "training, gives masks.",
            )
        if self.section.use_empty_masks or self.section.masks == "ground truth":
            return EmptyResults((), 0)
        return EmptyResults((), empty.tagged) if empty.is_everything else empty
