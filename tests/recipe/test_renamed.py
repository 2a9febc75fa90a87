"""Old and common names of settings: refused, with the right key in the message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tag2mask.ablation.table import load_table, row_recipe
from tag2mask.errors import RecipeError
from tag2mask.recipe.loading import load_recipe, recipe_from
from tag2mask.recipe.renamed import (
    COMMON_NAMES,
    REMOVED_KEYS,
    RENAMED_KEYS,
    RENAMED_VALUES,
    current_name,
)
from tag2mask.recipe.schema import Recipe


def keys(model: Any, prefix: str = "") -> list[str]:
    """Dotted names of all keys and sections of a recipe."""
    found = []
    for name, field in model.model_fields.items():
        found.append(prefix + name)
        if hasattr(field.annotation, "model_fields"):
            found += keys(field.annotation, f"{prefix}{name}.")
    return found


def message_of(values: dict[str, Any]) -> str:
    with pytest.raises(RecipeError) as caught:
        recipe_from(values)
    return str(caught.value)


def test_new_names_exist_and_old_ones_do_not() -> None:
    last_parts = {key.rsplit(".", 1)[-1] for key in keys(Recipe)}
    assert {*RENAMED_KEYS.values(), *COMMON_NAMES.values(), *RENAMED_VALUES} <= last_parts
    assert not {*RENAMED_KEYS, *COMMON_NAMES} & last_parts
    assert not REMOVED_KEYS & set(keys(Recipe))


@pytest.mark.parametrize(
    ("values", "old", "new"),
    [
        ({"train_cam": {"optimiser": {"lr": 1}}}, "train_cam.optimiser", "train_cam.optimizer"),
        (
            {"train_segmenter": {"colour_jitter": [0, 0, 0, 0]}},
            "train_segmenter.colour_jitter",
            "train_segmenter.color_jitter",
        ),
        ({"evaluate": {"behaviour": "paper"}}, "evaluate.behaviour", "evaluate.behavior"),
        ({"walk": {"background": "fixed"}}, "walk.background", "walk.threshold_from"),
        ({"walk": {"score": 0.2}}, "walk.score", "walk.background_threshold"),
        (
            {"pseudo_masks": {"score": 0.2}},
            "pseudo_masks.score",
            "pseudo_masks.background_threshold",
        ),
        (
            {"affinity_labels": {"background": "fixed"}},
            "affinity_labels.background",
            "affinity_labels.threshold_from",
        ),
    ],
)
def test_a_renamed_key_is_refused_with_its_new_name(
    values: dict[str, Any], old: str, new: str
) -> None:
    assert f"key {old!r} is now called {new!r}" in message_of(values)
    assert current_name(old) == new


def test_a_renamed_value_is_refused_with_its_new_name() -> None:
    message = message_of({"walk": {"behavior": "paper"}})
    assert "(given 'paper'); 'paper' is now called 'published'" in message
    assert "now called" not in message_of({"walk": {"behavior": "papers"}})


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"train_cam": {"losses": {"teach": 0.0}}}, "train_cam.losses.teach"),
        ({"train_cam": {"optimizer": {"pcm_lr": 1.0}}}, "train_cam.optimizer.pcm_lr"),
        ({"train_segmenter": {"losses": {"dice": 0}}}, "train_segmenter.losses"),
        ({"train_segmenter": {"confidence_weight": False}}, "train_segmenter.confidence_weight"),
        ({"train_segmenter": {"rounds": 1}}, "train_segmenter.rounds"),
    ],
)
def test_a_removed_key_is_refused(values: dict[str, Any], key: str) -> None:
    assert f"key {key!r} was removed: it was not shown to improve results" in message_of(values)


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        ({"train_cam": {"lr": 1}}, "'train_cam.lr'; did you mean 'train_cam.optimizer.lr'?"),
        ({"train_cam": {"learning_rate": 1}}, "did you mean 'train_cam.optimizer.lr'?"),
        (
            {"train_cam": {"optimizer": {"learning_rate": 1}}},
            "did you mean 'train_cam.optimizer.lr'?",
        ),
        ({"train_cam": {"losses": {"lr": 1}}}, "did you mean 'train_cam.optimizer.lr'?"),
        (
            {"learning_rate": 1},
            "did you mean 'train_cam.optimizer.lr', 'train_affinity.optimizer.lr' or "
            "'train_segmenter.optimizer.lr'?",
        ),
        (
            {"epochs": 1},
            "did you mean 'train_cam.epochs', 'train_affinity.epochs' or 'train_segmenter.epochs'?",
        ),
        ({"num_epochs": 1}, "did you mean 'train_cam.epochs', 'train_affinity.epochs' or"),
        ({"seed": 1}, "did you mean 'train_cam.seed', 'train_affinity.seed' or"),
        ({"optimiser": {}}, "did you mean 'train_cam.optimizer', 'train_affinity.optimizer' or"),
        (
            {"threshold": 0.3},
            "did you mean 'affinity_labels.background_threshold', "
            "'walk.background_threshold' or 'pseudo_masks.background_threshold'?",
        ),
        (
            {"pseudo_masks": {"threshold": 0.3}},
            "did you mean 'pseudo_masks.background_threshold'?",
        ),
        ({"evaluate": {"threshold": 0.3}}, "did you mean 'evaluate.thresholds'?"),
        ({"infer_cam": {"image_size": 1}}, "did you mean 'infer_cam.long_side'?"),
        (
            {"image_size": 1},
            "did you mean 'train_cam.long_side', 'infer_cam.long_side', "
            "'train_affinity.long_side' or one of 3 more?",
        ),
        ({"train_cam": {"crop_size": 1}}, "did you mean 'train_cam.crop'?"),
        ({"train_cam": {"batch": 1}}, "did you mean 'train_cam.batch_size'?"),
        ({"train_segmenter": {"crf": {}}}, "did you mean 'affinity_labels.crf',"),
        ({"precision": "32"}, "did you mean 'train_cam.precision',"),
        ({"device": "cpu"}, "did you mean 'runtime.device'?"),
    ],
)
def test_a_common_name_or_a_wrong_level_is_refused_with_the_key(
    values: dict[str, Any], hint: str
) -> None:
    assert hint in message_of(values)


def test_overrides_and_tables_are_checked_the_same_way(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"'train_cam\.optimiser' is now called"):
        load_recipe("tiny", ["train_cam.optimiser.lr=0.1"])
    path = tmp_path / "table.yaml"
    path.write_text("recipe: tiny\nrows: [{name: a, set: {walk.score: 0.2}}]\n")
    table = load_table(path)
    with pytest.raises(RecipeError, match=r"row 'a': key 'walk\.score' is now called 'walk\.back"):
        row_recipe(table, table.rows[0], table.rows[0].settings)


def test_current_name_of_keys_that_are_not_renamed() -> None:
    assert current_name("train_cam.epochs") is None
    assert current_name("train_cam.optimiser.lr") == "train_cam.optimizer.lr"
