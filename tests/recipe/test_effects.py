"""Settings without effect are errors where they were chosen."""

from __future__ import annotations

from pathlib import Path

import pytest

from tag2mask.artifacts.section_values import flat_values
from tag2mask.errors import RecipeError
from tag2mask.recipe.effects import NEEDS
from tag2mask.recipe.loading import RECIPE_HEAD, dump_recipe, load_recipe, shipped_recipes
from tag2mask.recipe.schema import Recipe


def test_rules_name_settings_and_values_that_exist() -> None:
    known = flat_values(Recipe().model_dump(mode="json"))
    for need in NEEDS:
        assert need.other in known
        for key in need.keys:
            assert any(need.concerns(name) for name in known) if key.endswith("*") else key in known
        for value in need.values:
            load_recipe("lite0-cpu", [f"{need.other}={'null' if value is None else value}"])


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ["pseudo_masks.background_threshold=0.4"],
            "pseudo_masks.background_threshold has no effect with pseudo_masks.threshold_from=auto "
            "(it needs fixed) [--set]. Leave it out, or set the other key too.",
        ),
        (
            ["walk.calibrate_photos=9", "walk.threshold_from=estimated"],
            "walk.threshold_from=estimated (it needs auto or calibrated)",
        ),
        (["walk.alpha=4", "walk.threshold_from=fixed"], "no effect with walk.alpha=4.0"),
        (["train_cam.pcm={enabled: false, power: 2}"], "train_cam.pcm.power has no effect"),
        (["train_cam.views.enabled=false", "train_cam.losses.er=0.5"], "train_cam.losses.er has"),
        (["train_cam.init_from=m.pth", "train_cam.warm_start=3"], "(it needs null)"),
        (["train_segmenter.optimizer.momentum=0.5"], "optimizer.name=adamw (it needs sgd)"),
        (["infer_cam.tag_threshold=0.4"], "infer_cam.tags=known (it needs untagged or predicted)"),
        (
            [
                "train_cam={pooling: top, starts: 4, pcm: {enabled: false}, warm_start: 0, "
                "views: {enabled: false}, losses: {er: 0}, long_side: null, dropout: 0.1}"
            ],
            "train_cam.dropout has no effect with train_cam.starts=4 (it needs 1)",
        ),
        (["predict.crf.iterations=3"], "predict.crf.enabled=false (it needs true)"),
        (["predict.crf.iterations=3", "walk.background_threshold=0.4"], "true); walk.background"),
        (["masks=m", "train_cam.backbone.output_stride=32"], "masks=m (it needs null)"),
        (["prepare.source=csv", "prepare.tags=masks"], "(it needs auto or voc or roboflow)"),
    ],
)
def test_an_override_without_effect_is_an_error(overrides: list[str], words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("lite0-cpu", overrides)
    assert words in str(caught.value)
    load_recipe("lite0-cpu", overrides, effects=False)


@pytest.mark.parametrize(
    "overrides",
    [
        ["pseudo_masks.background_threshold=0.4", "pseudo_masks.threshold_from=fixed"],
        ["train_cam.views.enabled=false", "train_cam.losses.er=0", "train_cam.views.enabled=false"],
        ["train_cam.pcm.enabled=false", "train_cam.losses.er=0"],
        ["train_cam.init_from=m.pth"],
        ["train_cam.init_from=m.pth", "train_cam.warm_start=0"],
        ["walk.enabled=false", "walk.steps=3"],  # for the step's own command
        ["prepare.source=roboflow", "prepare.tags=masks"],
        ["pseudo_masks.calibrate_photos=20"],  # enough corrections calibrate
        ["masks=m", "train_cam.backbone.weights=hub"],  # the segmentation network takes them
    ],
)
def test_overrides_with_an_effect(overrides: list[str]) -> None:
    load_recipe("lite0-cpu", overrides)


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_a_copy_of_a_shipped_recipe_loads(name: str, tmp_path: Path) -> None:
    for text in (shipped_recipes()[name], dump_recipe(load_recipe(name))):
        (tmp_path / "copy.yaml").write_text(text)
        assert load_recipe(tmp_path / "copy.yaml") == load_recipe(name)


def test_a_file_may_not_change_what_has_no_effect(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("pseudo_masks: {background_threshold: 0.26}")
    load_recipe(path)
    text = "pseudo_masks: {background_threshold: 0.4}"
    path.write_text(text)
    with pytest.raises(RecipeError, match=r"threshold_from=auto \(it needs fixed\) \[.*mine\.yaml"):
        load_recipe(path)
    assert load_recipe(path, ["pseudo_masks.threshold_from=fixed"])
    path.write_text(f"{RECIPE_HEAD}\n{text}")
    load_recipe(path)
    with pytest.raises(RecipeError, match="--set"):
        load_recipe(path, ["pseudo_masks.background_threshold=0.4"])


def test_an_override_may_take_the_effect_of_what_a_file_says(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("pseudo_masks: {threshold_from: calibrated, calibrate_photos: 20}")
    load_recipe(path, ["pseudo_masks.threshold_from=estimated"])
    # Wrong without --set:
    path.write_text("walk: {background_threshold: 0.4}\nprepare: {source: xml}")
    with pytest.raises(RecipeError, match=r"walk\.background_threshold has no effect"):
        load_recipe(path, ["prepare.source=csv"])
