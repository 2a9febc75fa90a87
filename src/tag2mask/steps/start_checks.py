"""What each step of a run would refuse because of its settings and the list of photos alone.

A run calls these functions before its first step, and so does its dry run: a refusal after hours of
training helps nobody. The steps check the same things when they run on their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tag2mask.artifacts.handles import (
    AffinityLabels,
    AffinityModel,
    CamMaps,
    CamModel,
    Evaluation,
    Handle,
    PseudoMaskFolder,
    SegmenterModel,
    WalkedMaps,
)
from tag2mask.data.inventory import Inventory
from tag2mask.data.splits import SPLITS
from tag2mask.errors import DataError, RecipeError, in_section
from tag2mask.recipe.maps_to_masks import ThresholdChoice
from tag2mask.recipe.schema import Recipe
from tag2mask.recipe.train_segmenter import TrainSegmenter
from tag2mask.recipe.training import TrainAffinity, TrainCam


@dataclass(frozen=True)
class Start:
    """What is known when a run starts.

    Attributes:
        recipe: the settings.
        inventory: the listed photos, of which unreadable ones may yet be left out.
    """

    recipe: Recipe
    inventory: Inventory

    def photos(self, *splits: str, masked: bool = False) -> set[str]:
        """Return the ids of the photos of some splits, or of those that have a mask in the data."""
        return {
            entry.id
            for entry in self.inventory.entries
            if entry.split in splits
            and (not masked or entry.mask is not None or bool(entry.mask_stamp))
        }

    def sure(self, *splits: str) -> set[str]:
        """Return the ids of the photos of some splits whose masks were drawn or accepted."""
        corrections = self.inventory.corrections
        return set() if corrections is None else self.photos(*splits) & set(corrections.sure)

    def mapped(self) -> set[str]:
        """Return the ids of the photos that get maps; of a run that is given masks, all."""
        if self.recipe.masks is not None:
            return self.photos(*SPLITS)
        return self.photos(*self.recipe.infer_cam.splits)


def check_train_cam(start: Start) -> None:
    """Check the batches of ``train-cam``, and the model that it continues."""
    section = start.recipe.train_cam
    _check_batches(start, section, "train_cam")
    if section.init_from is not None:
        from tag2mask.steps.train_cam import check_start_model

        check_start_model(section, start.inventory.class_names)


def check_infer_cam(start: Start) -> None:
    """Check that there are photos to make maps of, training photos where later steps need them."""
    section, recipe = start.recipe.infer_cam, start.recipe
    pseudo = recipe.train_segmenter.enabled and recipe.train_segmenter.masks != "ground truth"
    if "train" not in section.splits and (recipe.walk.enabled or pseudo):
        needs = "walk.enabled" if recipe.walk.enabled else "train_segmenter.enabled"
        raise RecipeError(
            f"no training photo gets maps, which {needs}=true needs",
            where="infer_cam.splits",
            fix=f"Add train, or set {needs}=false.",
        )
    if not start.mapped():
        raise RecipeError(
            f"no photo is in {' or '.join(section.splits)}",
            where="infer_cam.splits",
            fix=f"Set it to {list(SPLITS)}.",
        )
    if section.branch == "attention":
        _check_attention(recipe, where="infer_cam.branch", otherwise="auto")


def check_affinity_labels(start: Start) -> None:
    """Check that the background threshold of ``affinity-labels`` can be found."""
    if start.recipe.affinity_labels.alphas is None:
        _check_threshold(start, start.recipe.affinity_labels)


def check_train_affinity(start: Start) -> None:
    """Check the batches of ``train-affinity``."""
    _check_batches(start, start.recipe.train_affinity, "train_affinity")


def check_walk(start: Start) -> None:
    """Check that the background threshold of ``walk`` can be found, and its affinities."""
    if start.recipe.walk.affinity == "attention":
        _check_attention(start.recipe, where="walk.affinity", otherwise="trained")
    if start.recipe.walk.alpha is None:
        _check_threshold(start, start.recipe.walk)


def check_pseudo_masks(start: Start) -> None:
    """Check the background thresholds of ``pseudo-masks``."""
    from tag2mask.steps.threshold_choice import check_class_thresholds

    check_class_thresholds(start.recipe.pseudo_masks, start.inventory.class_names)
    _check_threshold(start, start.recipe.pseudo_masks)


def check_train_segmenter(start: Start) -> None:
    """Check the batches of ``train-segmenter``, and the masks and the model that it needs."""
    section, where = start.recipe.train_segmenter, start.inventory.root
    _check_batches(start, section, "train_segmenter")
    if section.masks == "ground truth" and not start.photos("train", masked=True):
        from tag2mask.segmentation.labels import no_training_masks

        raise no_training_masks(where)
    if section.masks != "ground truth":
        _check_masks(start)
    if section.masks == "mixed" and not start.sure("train"):
        from tag2mask.segmentation.labels import no_sure_masks

        raise no_sure_masks(where)
    if section.validate_epochs and not start.photos("val", masked=True):
        from tag2mask.segmentation.labels import no_validation_masks

        raise no_validation_masks(where)
    if section.init_from is not None:
        from tag2mask.steps.trainers.segmenter_start import check_start_model

        check_start_model(section, start.inventory.class_names)


def check_evaluate(start: Start) -> None:
    """Check the photos that ``evaluate`` is to leave out."""
    from tag2mask.evaluation.left_out import left_out_ids
    from tag2mask.maps.mapped_photos import all_left_out

    section = start.recipe.evaluate
    if not start.recipe.train_segmenter.enabled:
        _check_masks(start)
    file = section.leave_out
    listed = frozenset() if file is None else left_out_ids(file, lambda: start.photos(*SPLITS))
    if file is not None and start.mapped() <= listed:
        raise all_left_out(Path(file))
    if not section.use_drawn and start.mapped() <= listed | start.sure(*SPLITS):
        raise DataError(
            "no photo is left to score: the masks of all were drawn or accepted",
            where="evaluate.use_drawn",
            fix="Set it to true, or add photos.",
        )


START_CHECKS: Mapping[type[Handle], Callable[[Start], None]] = {
    CamModel: check_train_cam,
    CamMaps: check_infer_cam,
    AffinityLabels: check_affinity_labels,
    AffinityModel: check_train_affinity,
    WalkedMaps: check_walk,
    PseudoMaskFolder: check_pseudo_masks,
    SegmenterModel: check_train_segmenter,
    Evaluation: check_evaluate,
}
"""By the handle of the step, in order. The other steps have nothing to refuse."""


def _check_masks(start: Start) -> None:
    """Check the masks that a run is given."""
    if start.recipe.masks is not None:
        from tag2mask.steps.mask_exchange.given import check_given_masks

        check_given_masks(Path(start.recipe.masks), start.inventory)


def _check_attention(recipe: Recipe, *, where: str, otherwise: str) -> None:
    """Check that the CAM network is a ViT, whose attentions can be read; it has no weights here.

    Raises:
        RecipeError: it is another network, or can't be built.
    """
    import torch

    from tag2mask.nn.backbones.attention import check_attention
    from tag2mask.nn.backbones.build import build_backbone

    settings = recipe.train_cam.backbone
    with torch.device("meta"), in_section("train_cam"):
        backbone = build_backbone(
            settings.name,
            weights="none",
            output_stride=settings.output_stride,
            pcm_levels=settings.pcm_levels,
            truncated=recipe.train_cam.truncate_backbone,
        )
    check_attention(backbone, where=where, otherwise=otherwise)


def _check_threshold(start: Start, section: ThresholdChoice) -> None:
    """Check that there are masks to calibrate a background threshold on.

    Raises:
        DataError: no training photo that gets maps has one.
    """
    masked = (start.photos("train", masked=True) | start.sure("train")) & start.mapped()
    if section.threshold_from == "calibrated" and not masked:
        from tag2mask.maps.threshold_sources import no_calibration_masks

        error = no_calibration_masks(start.inventory.root)
        raise DataError(f"{section.key}: {error.what}", where=error.where, fix=error.fix)


def _check_batches(
    start: Start, section: TrainCam | TrainAffinity | TrainSegmenter, name: str
) -> None:
    """Check that each process gets at least one photo of a batch.

    Raises:
        RecipeError: batches are too small.
    """
    devices, photos = start.recipe.runtime.devices, len(start.photos("train"))
    if devices > 1:
        from tag2mask.training.sampler import check_batch_size

        check_batch_size(min(section.batch_size, photos), devices, f"{name}.batch_size")
