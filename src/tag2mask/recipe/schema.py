"""`Recipe`: all settings of a run, and the checks across its sections.

A recipe is one YAML file with one section per step, named like the step with underscores. Recipes
don't inherit from each other. ``--set a.b=c`` overrides single values before the check, and the
resolved recipe is written to the run folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import model_validator

from tag2mask.recipe.fields import Section
from tag2mask.recipe.maps_to_masks import AffinityLabeling, PseudoMasks, Tune, Walk
from tag2mask.recipe.sections import Evaluate, InferCam, Predict, Prepare, Report, RuntimeSettings
from tag2mask.recipe.train_segmenter import CAM_WEIGHTS, SegmentationNetwork, TrainSegmenter
from tag2mask.recipe.training import BackboneSettings, TrainAffinity, TrainCam


class Recipe(Section):
    """All settings of a run, one section per step."""

    name: str = "unnamed"
    description: str = ""
    masks: str | None = None
    """Folder of masks of ``masks import`` or ``pseudo-masks``: a run learns from them and leaves
    out every step that makes pseudo masks. None: it makes them."""
    prepare: Prepare = Prepare()
    train_cam: TrainCam = TrainCam()
    infer_cam: InferCam = InferCam()
    affinity_labels: AffinityLabeling = AffinityLabeling()
    train_affinity: TrainAffinity = TrainAffinity()
    walk: Walk = Walk()
    tune: Tune = Tune()
    pseudo_masks: PseudoMasks = PseudoMasks()
    train_segmenter: TrainSegmenter = TrainSegmenter()
    predict: Predict = Predict()
    evaluate: Evaluate = Evaluate()
    report: Report = Report()
    runtime: RuntimeSettings = RuntimeSettings()

    @model_validator(mode="before")
    @classmethod
    def _same_backbone(cls, values: Any) -> Any:
        """Copy settings of the CAM network's backbone that other networks' sections leave out.

        AffinityNet takes the backbone, and a segmentation network with this backbone its weights:
        those that the recipe names, else those that `train-cam` gives it.
        """
        backbone = inner_section(values, "train_cam", "backbone")
        if backbone is None:
            return values
        known = {
            key: value for key, value in backbone.items() if key in BackboneSettings.model_fields
        }
        affinity = inner_section(values, "train_affinity", "backbone")
        if known and affinity is not None:
            values = _replaced(values, "train_affinity", "backbone", {**known, **affinity})
        network = inner_section(values, "train_segmenter", "network")
        if network is not None and "weights" not in network:
            name = known.get("name", BackboneSettings().name)
            same = network.get("encoder", SegmentationNetwork().encoder) == name
            whole = not values.get("train_cam", {}).get("truncate_backbone", False)
            trained = same and whole and values.get("masks") is None
            weights = CAM_WEIGHTS if trained else SegmentationNetwork().weights
            if same:
                weights = known.get("weights", weights)
            values = _replaced(
                values, "train_segmenter", "network", {**network, "weights": weights}
            )
        return values

    @model_validator(mode="after")
    def _check_across_keys(self) -> Recipe:
        train = self.train_cam
        for key, (low, high) in {
            "train_cam.long_side": train.long_side or (0, 0),
            "train_cam.views.scale": train.views.scale,
            "train_affinity.long_side": self.train_affinity.long_side or (0, 0),
            "train_segmenter.scale": self.train_segmenter.scale,
            "affinity_labels.alpha_factors": self.affinity_labels.alpha_factors,
            "affinity_labels.alphas": self.affinity_labels.alphas or (0, 0),
        }.items():
            if low > high:
                raise ValueError(f"{key}: the range starts at {low} and ends before it, at {high}")
        published = self.train_affinity.behavior == "published"
        trains = self.walk.enabled and self.walk.affinity == "trained"
        if published and trains and self.affinity_labels.behavior != "published":
            raise ValueError(
                "affinity_labels.behavior: train_affinity.behavior=published learns from the "
                "marginals of the CRFs; set published here too"
            )
        segmenter = self.train_segmenter
        if segmenter.behavior == "published" and segmenter.freeze_batch_norm:
            raise ValueError(
                "train_segmenter.freeze_batch_norm: behavior=published trains with batch norms in "
                "training mode; set false"
            )
        if segmenter.behavior == "published" and segmenter.absent_weight:
            raise ValueError(
                "train_segmenter.absent_weight: behavior=published has no loss of absent classes; "
                "set 0"
            )
        if self.masks is not None and segmenter.enabled and segmenter.masks == "ground truth":
            raise ValueError(
                "train_segmenter.masks: ground truth doesn't learn from the masks that are given; "
                "set pseudo or mixed, or masks=null"
            )
        self._check_cam_weights()
        if not self.walk.scales:
            raise ValueError("walk.scales: at least one scale")
        if self.walk.behavior == "published" and self.walk.scales != (1.0,):
            raise ValueError("walk.scales: behavior published computes affinities at scale 1 alone")
        if self.walk.affinity == "attention" and self.walk.scales != (1.0,):
            raise ValueError("walk.scales: affinity attention is computed at scale 1 alone")
        if self.walk.affinity == "attention" and self.walk.behavior == "published":
            raise ValueError(
                "walk.behavior: published walks along AffinityNet's affinities; set default"
            )
        for key, module, options in (
            ("pcm", train.pcm.module, train.pcm.options),
            ("views", train.views.module, train.views.options),
        ):
            if options and module is None:
                raise ValueError(f"train_cam.{key}.options: set train_cam.{key}.module too")
        losses = train.losses
        for name, section in (("train_cam", train), ("train_segmenter", segmenter)):
            if section.gradient_checkpointing and not section.freeze_batch_norm:
                raise ValueError(
                    f"{name}.gradient_checkpointing: batch norms in training would count each "
                    f"batch twice; set {name}.freeze_batch_norm=true"
                )
        learns = losses.cls > 0 or (losses.er > 0 and train.views.enabled) or losses.extra
        if not learns:
            raise ValueError("train_cam.losses: no term trains the network; raise cls or er")
        if train.warm_epochs and not losses.cls:
            raise ValueError("train_cam.warm_start: a plain CAM learns by losses.cls; raise it")
        if 2 * self.predict.overlap > self.predict.tile:
            raise ValueError("predict.overlap: at most half of predict.tile")
        if not self.infer_cam.scales:
            raise ValueError("infer_cam.scales: at least one scale")
        if not self.infer_cam.splits:
            raise ValueError("infer_cam.splits: train, val or both")
        if self.infer_cam.branch == "refined" and not train.pcm.enabled:
            raise ValueError(
                "infer_cam.branch: no refined maps with train_cam.pcm.enabled=false; "
                "set plain or auto"
            )
        self._check_map_tiles()
        self._check_starts()
        if list(self.evaluate.thresholds) != sorted(set(self.evaluate.thresholds)):
            raise ValueError("evaluate.thresholds: must be strictly increasing")
        return self

    def _check_cam_weights(self) -> None:
        """Check that the encoder of the segmentation network can start from the CAM network."""
        segmenter, cam = self.train_segmenter, self.train_cam
        if not (segmenter.enabled and segmenter.starts_from_cam):
            return
        key = "train_segmenter.network.weights"
        if self.masks is not None:
            raise ValueError(
                f"{key}: a run of given masks trains no CAM network to start from; set packaged, "
                "or the file of one"
            )
        if cam.truncate_backbone:
            raise ValueError(
                f"{key}: cam needs the whole backbone of train_cam as encoder, and "
                "train_cam.truncate_backbone=true trains a part of it; set packaged, hub or a file"
            )
        if segmenter.network.encoder != cam.backbone.name:
            raise ValueError(
                f"{key}: cam needs the backbone of train_cam as encoder, {cam.backbone.name}, and "
                f"this is {segmenter.network.encoder}; set packaged, hub or a file"
            )

    def _check_map_tiles(self) -> None:
        """Check that the maps of ``infer-cam`` can be computed in the tiles that are asked for."""
        infer, train = self.infer_cam, self.train_cam
        if infer.tile is None:
            return
        if infer.branch in ("refined", "attention") or (
            infer.branch == "auto" and train.pcm.enabled
        ):
            raise ValueError(
                "infer_cam.tile: maps refined by PCM aren't computed in tiles, "
                "nor are those spread by attention; set "
                "infer_cam.branch=plain or train_cam.pcm.enabled=false, or tile=null"
            )
        if train.head != "cam" or infer.behavior == "published":
            raise ValueError(
                "infer_cam.tile: only maps of train_cam.head=cam with infer_cam.behavior=default "
                "are computed in tiles; set tile=null"
            )

    def _check_starts(self) -> None:
        """Check that several heads can be trained on features that are computed once."""
        train = self.train_cam
        if train.starts == 1:
            return
        low, high = train.long_side or (0, 0)
        wrong = {
            "pooling=top (or max)": train.pooling == "avg",
            "head=cam": train.head != "cam",
            "pcm.enabled=false": train.pcm.enabled,
            "views.enabled=false": train.views.enabled,
            "losses.extra=[]": bool(train.losses.extra),
            "behavior=default": train.behavior != "default",
            "init_from=null (weights of the backbone are given by backbone.weights)": (
                train.init_from is not None
            ),
            "warm_start=0": train.warm_epochs > 0,
            "long_side=null, or a range of one value": low != high,
        }
        needed = [f"train_cam.{setting}" for setting, needs in wrong.items() if needs]
        if needed:
            raise ValueError(
                "train_cam.starts: several heads learn from fixed features of one view, each from "
                f"the best cells of its maps; set {', '.join(needed)}, or starts=1"
            )


INHERITING = (("train_affinity", "backbone"), ("train_segmenter", "network"))
"""Sections that take missing keys from ``train_cam.backbone``."""


def inner_section(values: Any, section: str, key: str) -> Mapping[str, Any] | None:
    """Return an inner section of unchecked values; None if the value isn't a section."""
    outer = values.get(section, {}) if isinstance(values, Mapping) else None
    inner = outer.get(key, {}) if isinstance(outer, Mapping) else None
    return inner if isinstance(inner, Mapping) else None


def _replaced(
    values: Mapping[str, Any], section: str, key: str, inner: Mapping[str, Any]
) -> Mapping[str, Any]:
    return {**values, section: {**values.get(section, {}), key: inner}}
