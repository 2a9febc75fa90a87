"""Settings that have no effect because of another setting.

Such a setting is an error where it was chosen: given by ``--set``, or different from its default in
a recipe of the user's own. Shipped recipes, and recipes that a run wrote, have all keys.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from tag2mask.artifacts.section_values import flat_values
from tag2mask.errors import RecipeError
from tag2mask.recipe.schema import Recipe

_SHOWN = 20


@dataclass(frozen=True)
class Need:
    """A setting without which others have no effect.

    Attributes:
        keys: dotted keys; one that ends with ``.*`` is all keys of a section, except ``enabled``.
        other: the key that they need.
        values: its values with which they have an effect.
        zero_is_off: whether their value 0 is not an error: it agrees with what the other key says.
        but: keys among them that always have an effect.
    """

    keys: tuple[str, ...]
    other: str
    values: tuple[Any, ...]
    zero_is_off: bool = False
    but: tuple[str, ...] = ()

    def concerns(self, key: str) -> bool:
        """Return whether this is one of the keys; ``skip_bad``, set for all sections, never is."""
        may_be = key not in (self.other, *self.but) and not key.endswith(".skip_bad")
        return may_be and any(
            key == own or (own.endswith(".*") and key.startswith(own[:-1])) for own in self.keys
        )


def _threshold_needs(section: str, alpha: str, *more: str) -> Iterator[Need]:
    """Yield the needs of a background threshold, which an α in the same section replaces."""
    source = f"{section}.threshold_from"
    threshold, photos = f"{section}.background_threshold", f"{section}.calibrate_photos"
    yield Need((threshold,), source, ("fixed",))
    yield Need((photos,), source, ("auto", "calibrated"))  # auto calibrates on corrections
    if alpha:
        yield Need((source, threshold, photos, *more), f"{section}.{alpha}", (None,))


def _optimizer_needs(section: str) -> Iterator[Need]:
    yield Need((f"{section}.optimizer.momentum",), f"{section}.optimizer.name", ("sgd",))
    yield Need((f"{section}.optimizer.poly_power",), f"{section}.optimizer.schedule", ("poly",))


NEEDS = (
    Need(("prepare.tags",), "prepare.source", ("auto", "voc", "roboflow")),
    Need(("train_cam.mdc_rates", "train_cam.mdc_channels"), "train_cam.head", ("mdc",)),
    Need(
        (
            "train_cam.color_jitter",
            "train_cam.dropout",
            "train_cam.freeze_batch_norm",
            "train_cam.gradient_checkpointing",
            "train_cam.picture_every",
        ),
        "train_cam.starts",
        (1,),
    ),
    Need(("train_cam.pcm.*",), "train_cam.pcm.enabled", (True,)),
    Need(
        ("train_cam.pcm.channels", "train_cam.pcm.power", "train_cam.pcm.block_mib"),
        "train_cam.pcm.module",
        (None,),
    ),
    Need(
        ("train_cam.losses.min_pool", "train_cam.losses.ecr", "train_cam.losses.ecr_top"),
        "train_cam.pcm.enabled",
        (True,),
        zero_is_off=True,
    ),
    Need(("train_cam.views.*",), "train_cam.views.enabled", (True,)),
    Need(
        (
            "train_cam.views.scale",
            "train_cam.views.size_multiple",
            "train_cam.views.antialias",
            "train_cam.views.flip",
            "train_cam.views.rotate",
            "train_cam.views.translate",
        ),
        "train_cam.views.module",
        (None,),
    ),
    Need(
        (
            "train_cam.losses.cls_view2",
            "train_cam.losses.er",
            "train_cam.losses.ecr",
            "train_cam.losses.ecr_top",
            "train_cam.losses.ramp",
        ),
        "train_cam.views.enabled",
        (True,),
        zero_is_off=True,
    ),
    Need(("train_cam.warm_start",), "train_cam.init_from", (None,), zero_is_off=True),
    *_optimizer_needs("train_cam"),
    Need(("infer_cam.tag_threshold",), "infer_cam.tags", ("untagged", "predicted")),
    *_threshold_needs("affinity_labels", "alphas", "affinity_labels.alpha_factors"),
    Need(("affinity_labels.use_drawn",), "affinity_labels.behavior", ("default",)),
    *_optimizer_needs("train_affinity"),
    *_threshold_needs("walk", "alpha"),
    Need(("walk.radius", "walk.beta"), "walk.affinity", ("trained",)),
    Need(("tune.betas",), "walk.affinity", ("trained",)),
    *_threshold_needs("pseudo_masks", ""),
    Need(("pseudo_masks.crf.*",), "pseudo_masks.crf.enabled", (True,)),
    *_optimizer_needs("train_segmenter"),
    Need(("train_segmenter.use_empty_masks",), "train_segmenter.masks", ("pseudo", "mixed")),
    Need(
        ("train_segmenter.drawn_share", "train_segmenter.drawn_weight"),
        "train_segmenter.masks",
        ("mixed",),
    ),
    Need(
        ("train_segmenter.network.decoder_channels",),
        "train_segmenter.network.architecture",
        ("deeplabv3", "deeplabv3plus", "pan", "upernet"),
    ),
    Need(("predict.crf.*",), "predict.crf.enabled", (True,)),
    Need(("evaluate.crf.*",), "evaluate.crf.enabled", (True,)),
    Need(
        (
            "train_cam.*",
            "infer_cam.*",
            "affinity_labels.*",
            "train_affinity.*",
            "walk.*",
            "pseudo_masks.*",
            "evaluate.crf.*",
            "evaluate.thresholds",
        ),
        "masks",
        (None,),
        # The segmentation network may take its weights from them, see `Recipe`.
        but=("train_cam.backbone.name", "train_cam.backbone.weights"),
    ),
)
"""In the order of the steps. Settings of a step that a run leaves out are not errors, as the step's
own command takes them, unless the recipe names masks, which no such command reads."""


def changed_keys(recipe: Recipe) -> set[str]:
    """Return the dotted keys whose values differ from their defaults."""
    defaults = flat_values(Recipe().model_dump(mode="json"))
    return {
        key
        for key, value in flat_values(recipe.model_dump(mode="json")).items()
        if value != defaults.get(key)
    }


def unmet_needs(recipe: Recipe, keys: Collection[str]) -> list[tuple[str, Need]]:
    """Return the keys that have no effect in a recipe, each with what it needs.

    Args:
        recipe: the recipe.
        keys: the dotted keys to check.
    """
    values = flat_values(recipe.model_dump(mode="json"))
    return [
        (key, need)
        for key in sorted(keys)
        for need in NEEDS
        if need.concerns(key)
        and values[need.other] not in need.values
        and not (need.zero_is_off and values[key] == 0)
    ]


def check_effects(
    recipe: Recipe,
    given: Collection[str],
    own: Recipe | None,
    *,
    where: str,
) -> None:
    """Check that settings have an effect.

    Args:
        recipe: the resolved recipe.
        given: dotted keys that ``--set`` gave.
        own: the recipe of the user's file, without ``--set``; None: the file isn't checked. What
            only ``--set`` makes useless there is no error.
        where: the file.

    Raises:
        RecipeError: all keys without effect, each with the key that it needs.
    """
    found = unmet_needs(recipe, given)
    if own is not None:
        changed = changed_keys(own) - set(given)
        alone = unmet_needs(own, changed)
        in_file = [unmet for unmet in unmet_needs(recipe, changed) if unmet in alone]
    else:
        in_file = []
    if found or in_file:
        raise RecipeError(
            "; ".join(_no_effect(recipe, key, need) for key, need in [*found, *in_file][:_SHOWN]),
            where="--set" if found else where,
            fix="Leave it out, or set the other key too.",
        )


def _no_effect(recipe: Recipe, key: str, need: Need) -> str:
    values = flat_values(recipe.model_dump(mode="json"))
    wanted = " or ".join(_yaml(value) for value in need.values)
    return f"{key} has no effect with {need.other}={_yaml(values[need.other])} (it needs {wanted})"


def _yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
