"""Recipes: loading, strict and frozen sections, readable errors."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from tag2mask.artifacts.handles import CamMaps, CamModel
from tag2mask.artifacts.identity import identity_of
from tag2mask.errors import RecipeError
from tag2mask.recipe.fields import Section
from tag2mask.recipe.loading import (
    RECIPE_HEAD,
    dump_recipe,
    load_recipe,
    recipe_from,
    shipped_recipes,
)
from tag2mask.recipe.renamed import REMOVED_KEYS
from tag2mask.recipe.schema import Recipe
from tag2mask.recipe.sections import InferCam
from tag2mask.recipe.train_segmenter import TrainSegmenter
from tag2mask.recipe.training import TrainCam

pytestmark = pytest.mark.smoke


def sections(model: type[BaseModel], prefix: str = "") -> dict[str, type[BaseModel]]:
    found: dict[str, type[BaseModel]] = {}
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            found[prefix + name] = info.annotation
            found |= sections(info.annotation, f"{prefix}{name}.")
    return found


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_every_shipped_recipe_loads_under_its_name(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description
    assert recipe_from(yaml.safe_load(dump_recipe(recipe))) == recipe


def test_the_default_recipe_is_shipped() -> None:
    assert "lite0-cpu" in shipped_recipes()


def test_sections_have_the_names_of_the_steps() -> None:
    steps = {
        "prepare",
        "train_cam",
        "infer_cam",
        "affinity_labels",
        "train_affinity",
        "walk",
        "pseudo_masks",
        "evaluate",
        "report",
    }
    assert steps < set(Recipe.model_fields)


def test_every_section_is_strict_and_frozen() -> None:
    for name, section in {"": Recipe, **sections(Recipe)}.items():
        assert issubclass(section, Section), name
        with pytest.raises(ValidationError):
            section.model_validate({"no_such_key": 1})
        key = next(iter(section.model_fields))
        with pytest.raises(ValidationError):
            setattr(section(), key, None)


def test_keys_outside_of_the_identity_exist() -> None:
    for name, section in sections(Recipe).items():
        assert issubclass(section, Section)
        assert section.not_identity <= set(keys(section))
        assert set(section.added_keys) <= set(keys(section))
        assert {f"{name}.{key}" for key in section.removed_keys} <= REMOVED_KEYS


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        (InferCam(batch_views=1), True),
        (InferCam(long_side=100), False),
        (TrainCam.model_validate({"pcm": {"block_mib": 1}}), True),
        (TrainCam.model_validate({"pcm": {"power": 2.0}}), False),
    ],
)
def test_settings_that_only_save_memory_may_change_on_resume(
    tmp_path: Path, changed: InferCam | TrainCam, same: bool
) -> None:
    kind = CamMaps if isinstance(changed, InferCam) else CamModel
    before = identity_of(kind, tmp_path, type(changed)(), {}, {})
    after = identity_of(kind, tmp_path, changed, {}, {})
    assert (before.identity == after.identity) is same


def keys(section: type[Section]) -> Iterator[str]:
    for name, field in section.model_fields.items():
        yield name
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            yield from (f"{name}.{key}" for key in keys(kind))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"train_cm": {}}, "unknown key 'train_cm'; did you mean 'train_cam'?"),
        ({"train_cam": {"epoch": 3}}, "did you mean 'train_cam.epochs'?"),
        ({"train_cam": {"losses": {"erc": 1}}}, "did you mean 'train_cam.losses.e"),
        (
            {"lr": 0.1},
            "did you mean 'train_cam.optimizer.lr', 'train_affinity.optimizer.lr' or "
            "'train_segmenter.optimizer.lr'?",
        ),
        ({"train_cam": {"epochs": 0}}, "train_cam.epochs: input should be greater"),
        ({"runtime": {"threads": 100_000}}, "threads: input should be less than or equal to 1024"),
        ({"runtime": {"workers": 1000}}, "workers: input should be less than or equal to 256"),
        ({"runtime": {"devices": 1000}}, "devices: input should be less than or equal to 256"),
        ({"train_cam": {"epochs": "many"}}, "given 'many'"),
        ({"train_cam": {"batch_size": True}}, "batch_size: a number, not true or false"),
        ({"infer_cam": {"map_stride": True}}, "a number, not true or false"),
        ({"walk": {"scales": [0.5, True]}}, "a number, not true or false"),
        ({"train_cam": {"backbone": {"output_stride": 12}}}, "8, 16 or 32"),
        ({"train_cam": {"long_side": [500, 300]}}, "train_cam.long_side"),
        ({"train_cam": {"views": {"scale": [0.9, 0.3]}}}, "train_cam.views.scale"),
        ({"train_cam": {"optimizer": {"lr": float("inf")}}}, "train_cam.optimizer.lr"),
        ({"train_cam": {"optimizer": {"lr": float("nan")}}}, "train_cam.optimizer.lr"),
        ({"train_affinity": {"long_side": [500, 300]}}, "train_affinity.long_side"),
        ({"affinity_labels": {"alphas": [24, 4]}}, "affinity_labels.alphas"),
        ({"affinity_labels": {"alpha_factors": [2, 1]}}, "affinity_labels.alpha_factors"),
        ({"affinity_labels": {"crf": {"iterations": -1}}}, "affinity_labels.crf.iterations"),
        ({"walk": {"scales": []}}, "walk.scales: at least one scale"),
        ({"walk": {"behavior": "published", "scales": [0.5, 1]}}, "at scale 1 alone"),
        ({"walk": {"beta": 0}}, "walk.beta"),
        ({"walk": {"steps": -1}}, "walk.steps"),
        ({"pseudo_masks": {"crf": {"enable": True}}}, "did you mean 'pseudo_masks.crf.enabled'"),
        (
            {"train_segmenter": {"behavior": "published"}},
            "train_segmenter.freeze_batch_norm: behavior=published trains with batch norms in",
        ),
        (
            {"train_segmenter": {"behavior": "published", "freeze_batch_norm": False}},
            "train_segmenter.absent_weight: behavior=published has no loss of absent classes",
        ),
        (
            {"train_affinity": {"behavior": "published"}},
            "affinity_labels.behavior: train_affinity.behavior=published learns from the marginals",
        ),
        ({"infer_cam": {"scales": []}}, "at least one scale"),
        ({"infer_cam": {"splits": []}}, "infer_cam.splits: train, val or both"),
        (
            {"infer_cam": {"branch": "refined"}, "train_cam": {"pcm": {"enabled": False}}},
            "infer_cam.branch: no refined maps with train_cam.pcm.enabled=false",
        ),
        (
            {"train_cam": {"warm_start": 1, "losses": {"cls": 0.0, "er": 1.0}}},
            "a plain CAM learns by losses.cls",
        ),
        ({"infer_cam": {"scales": [1.0, 0.0]}}, "infer_cam.scales.1"),
        ({"infer_cam": {"splits": ["trian"]}}, "infer_cam.splits.0"),
        ({"evaluate": {"thresholds": [0.2, 0.1]}}, "strictly increasing"),
        ({"evaluate": {"thresholds": [0.2, 0.2]}}, "strictly increasing"),
        ({"evaluate": {"thresholds": [1.2]}}, "evaluate.thresholds.0"),
        (
            {"pseudo_masks": {"class_thresholds": {"cat": 2}}},
            "pseudo_masks.class_thresholds.cat: input should be less than or equal to 1 (given 2",
        ),
        ({"infer_cam": {"scales": [1000]}}, "less than or equal to 8 (given 1000"),
        ({"infer_cam": {"long_side": 10**9}}, "infer_cam.long_side"),
        ({"train_cam": {"crop": 100_000}}, "train_cam.crop"),
        *(
            ({section: {"seed": 2**63}}, f"{section}.seed: input should be less than")
            for section in ("train_cam", "train_affinity", "train_segmenter")
        ),
        *(
            ({"predict": {"long_side": value}}, "[mine.yaml]")
            for value in ("trainedd", 0, 10**15, True, 1.5)
        ),
        ({"train_cam": 5}, "train_cam"),
        ({1: 2}, "1"),
    ],
)
def test_unknown_keys_and_impossible_values_are_named(values: dict[Any, Any], words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe_from(values, where="mine.yaml")
    assert words in str(caught.value)
    assert "[mine.yaml]" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["nonsense", -1, [0], [], {"a": 1}, None, True, 10**30, 1.5])
def test_no_message_shows_internals_of_pydantic(value: object) -> None:
    refused = 0
    for key in keys(Recipe):
        values: Any = value
        for part in reversed(key.split(".")):
            values = {part: values}
        try:
            recipe_from(values)
        except RecipeError as error:
            refused += 1
            assert not re.search(r"function-|functools|<|literal\[|\.int\b|lambda", str(error)), key
            assert "after validation" not in str(error) or value == [], key
    assert refused


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        recipe_from({"train_cam": {"epoch": 3, "crop": 1}, "infer_cam": {"map_stride": 3}})
    assert all(key in str(caught.value) for key in ("epoch", "crop", "map_stride"))


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("train_cam.epochs=3", "train_cam", "epochs", 3),
        ("infer_cam.scales=[0.5, 1]", "infer_cam", "scales", (0.5, 1.0)),
        ("infer_cam.flip=false", "infer_cam", "flip", False),
        ("prepare.val_split=null", "prepare", "val_split", None),
        ("report.title=a=b: c", "report", "title", "a=b: c"),
        (" train_cam.crop = 64", "train_cam", "crop", 64),
    ],
)
def test_overrides(override: str, section: str, key: str, value: Any) -> None:
    if ": " in override:
        override = override.replace("=a=b: c", "='a=b: c'")
    assert getattr(getattr(load_recipe("lite0-cpu", [override]), section), key) == value


def test_nested_overrides_and_the_last_one_wins() -> None:
    recipe = load_recipe(
        "lite0-cpu", ["train_cam.losses.er=2", "train_cam.losses.er=3", "train_cam.losses.ecr=0"]
    )
    assert (recipe.train_cam.losses.er, recipe.train_cam.losses.ecr) == (3.0, 0.0)


@pytest.mark.parametrize(
    "override", ["", "=", "train_cam.epochs", "=3", "train_cam.epochs=[", "name.x.y=3"]
)
def test_broken_overrides_are_named(override: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("lite0-cpu", [override])
    assert repr(override) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"train_cam: [", "not valid YAML"),
        (
            b"train_cam: {epochs: 5}\nwalk: {beta: 3}\ntrain_cam: {crop: 64}\n",
            "duplicate key 'train_cam'",
        ),
        (b"walk: {beta: 3, steps: 4, beta: 3}", "duplicate key 'beta'"),
        (b"- 1\n- 2\n", "mapping"),
        (b"just text", "mapping"),
        (b"\xff\xfe\x00\x01", "not UTF-8 text"),
        (b"a: !!python/object/apply:os.system ['echo']", "not valid YAML"),
    ],
)
def test_files_that_are_not_recipes(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=words) as caught:
        load_recipe(path)
    assert "mine.yaml" in str(caught.value)


def test_anchors_and_merged_keys_are_allowed(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "affinity_labels: &a {threshold_from: fixed, background_threshold: 0.2}\n"
        "walk: &b {<<: *a, background_threshold: 0.3}\n"
        "pseudo_masks: {<<: *b, background_threshold: 0.4}\n"
    )
    found = load_recipe(tmp_path / "mine.yaml")
    sections = (found.affinity_labels, found.walk, found.pseudo_masks)
    assert [section.threshold_from for section in sections] == ["fixed"] * 3
    assert [section.background_threshold for section in sections] == [0.2, 0.3, 0.4]


def test_an_empty_file_means_all_defaults(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("")
    assert load_recipe(tmp_path / "mine.yaml") == Recipe()


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match="no recipe 'lite0-cpi'; did you mean 'lite0-cpu'"):
        load_recipe("lite0-cpi")


@settings(max_examples=25, deadline=None)
@given(
    epochs=st.integers(1, 1000),
    scales=st.lists(st.floats(0.1, 4.0), min_size=1, max_size=5),
    lr=st.floats(1e-6, 10.0),
    title=st.text(st.characters(exclude_categories=("Cs",)), max_size=20),
)
def test_a_dumped_recipe_loads_as_the_same(
    epochs: int, scales: list[float], lr: float, title: str
) -> None:
    recipe = recipe_from(
        {
            "train_cam": {"epochs": epochs, "optimizer": {"lr": lr}},
            "infer_cam": {"scales": scales},
            "report": {"title": title},
        }
    )
    assert recipe_from(yaml.safe_load(dump_recipe(recipe))) == recipe


@pytest.mark.parametrize("title", ["写真", "Hügel 😀", "a\u2028b", "it's 'é'\n"])
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_recipe_that_is_printed_in_another_encoding(title: str, encoding: str) -> None:
    recipe = recipe_from({"report": {"title": title}})
    text = dump_recipe(recipe).encode(encoding, "backslashreplace").decode(encoding)
    assert yaml.safe_load(text)["report"]["title"] == title


@pytest.mark.parametrize("title", ["\x85", "a\u2028b", "c\u2029 'd'\n", "Hügel", "\ufeff"])
def test_odd_characters_survive_a_dump(tmp_path: Path, title: str) -> None:
    recipe = recipe_from({"report": {"title": title}})
    path = tmp_path / "recipe.yaml"
    path.write_text(dump_recipe(recipe), encoding="utf-8")
    assert load_recipe(path) == recipe


def test_the_given_values_are_not_changed(tmp_path: Path) -> None:
    values = {"train_cam": {"epochs": 2}}
    before = copy.deepcopy(values)
    recipe_from(values)
    assert values == before


def test_the_encoder_starts_from_the_cam_network_where_there_is_one() -> None:
    def weights(values: dict[str, Any]) -> str:
        return recipe_from(values).train_segmenter.network.weights

    truncated = {"train_cam": {"truncate_backbone": True, "pcm": {"enabled": False}}}
    resnet = {"train_cam": {"backbone": {"name": "resnet18", "weights": "none"}}}
    assert weights({}) == weights({"train_cam": {"epochs": 2}}) == "cam"
    assert weights({"train_cam": {"backbone": {"output_stride": 8}}}) == "cam"
    assert weights({"train_segmenter": {"network": {"encoder": "resnet18"}}}) == "packaged"
    others: list[tuple[dict[str, Any], str]] = [
        ({"masks": "drawn"}, "given masks"),
        (truncated, r"train_cam\.truncate_backbone=true"),
        (resnet, "as encoder, resnet18, and this is tf_efficientnet_lite0"),
    ]
    chosen = {"train_segmenter": {"network": {"weights": "cam"}}}
    for other, why in others:
        assert weights(other) == "packaged"
        with pytest.raises(RecipeError, match=rf"train_segmenter\.network\.weights: .*{why}"):
            recipe_from(other | chosen)


def test_a_segmentation_network_on_the_cam_networks_backbone_takes_its_weights() -> None:
    backbone = {"name": "resnet38", "weights": "a.params", "output_stride": 8}
    network = {"architecture": "deeplabv1", "encoder": "resnet38", "output_stride": 8}
    found = recipe_from(
        {"train_cam": {"backbone": backbone}, "train_segmenter": {"network": network}}
    )
    assert found.train_segmenter.network.weights == "a.params"
    own = recipe_from(
        {
            "train_cam": {"backbone": backbone},
            "train_segmenter": {"network": {**network, "weights": "none"}},
        }
    )
    assert own.train_segmenter.network.weights == "none"
    other = recipe_from({"train_cam": {"backbone": backbone}})
    assert other.train_segmenter.network.weights == "packaged", "another network"
    both = recipe_from({"train_cam": {"backbone": {"weights": "lite0.pth"}}})
    assert both.train_segmenter.network.weights == "lite0.pth", "both by default"
    overridden = load_recipe("voc12-resnet38", ["train_cam.backbone.weights=mine.pth"])
    assert overridden.train_segmenter.network.weights == "mine.pth"
    assert overridden.train_affinity.backbone.weights == "mine.pth"
    with pytest.raises(RecipeError) as caught:  # reported once, for train_cam
        recipe_from({"train_cam": {"backbone": {"weights": 7}}})
    assert "train_segmenter" not in str(caught.value)
    for nonsense in (7, {"network": 7}):
        with pytest.raises(RecipeError, match="train_segmenter"):
            recipe_from(
                {"train_cam": {"backbone": {"weights": "a.pth"}}, "train_segmenter": nonsense}
            )


def test_affinitynet_takes_the_backbone_of_the_cam_network() -> None:
    shared = {"name": "resnet18", "weights": "none", "output_stride": 8}
    found = recipe_from({"train_cam": {"backbone": shared}})
    assert found.train_affinity.backbone == found.train_cam.backbone
    own = recipe_from(
        {"train_cam": {"backbone": shared}, "train_affinity": {"backbone": {"output_stride": 16}}}
    )
    assert own.train_affinity.backbone.name == "resnet18"
    assert own.train_affinity.backbone.output_stride == 16
    assert recipe_from(yaml.safe_load(dump_recipe(own))) == own
    overridden = load_recipe("tiny", ["train_cam.backbone.name=resnet18"])
    assert overridden.train_affinity.backbone.name == "resnet18"
    with pytest.raises(RecipeError) as caught:  # reported once, for train_cam
        recipe_from({"train_cam": {"backbone": {"output_stride": 7}}})
    assert "train_affinity" not in str(caught.value)
    with pytest.raises(RecipeError, match=r"train_affinity\.backbone\.output_stride"):
        recipe_from({"train_affinity": {"backbone": {"output_stride": 7}}})


def test_a_precision_may_lack_quotes() -> None:
    recipe = load_recipe("tiny", ["train_cam.precision=32", 'predict.precision="16"'])
    assert (recipe.train_cam.precision, recipe.predict.precision) == ("32", "16")
    with pytest.raises(RecipeError, match="given 64"):
        load_recipe("tiny", ["train_cam.precision=64"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([], "set infer_cam.branch=plain or train_cam.pcm.enabled=false"),
        (["infer_cam.branch=refined"], "refined by PCM aren't computed in tiles"),
        (["infer_cam.branch=plain", "infer_cam.behavior=published"], "behavior=default"),
        (["infer_cam.branch=plain", "train_cam.head=mdc"], "only maps of train_cam.head=cam"),
    ],
)
def test_maps_that_cannot_be_tiled_are_refused(changes: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe("lite0-cpu", ["infer_cam.tile=512", *changes])
    load_recipe("lite0-cpu", ["infer_cam.tile=512", "infer_cam.branch=plain"])


def test_a_runs_recipe_gets_keys_that_were_added_since_as_before_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {"freeze_stride": 2, "network.decoder_channels": 64}
    monkeypatch.setattr(TrainSegmenter, "added_keys", before)
    recipe = load_recipe("lite0-cpu")
    values = recipe.model_dump(mode="json")
    del values["train_segmenter"]["freeze_stride"]
    del values["train_segmenter"]["network"]["decoder_channels"]
    path = tmp_path / "recipe.yaml"
    path.write_text(f"{RECIPE_HEAD}\n{yaml.safe_dump(values)}")
    old = load_recipe(path)
    assert old.train_segmenter.freeze_stride == 2
    assert old.train_segmenter.network.decoder_channels == 64
    assert old.train_cam == recipe.train_cam
    path.write_text(yaml.safe_dump(values))  # a user's own: today's defaults
    assert load_recipe(path) == recipe


def test_a_runs_recipe_may_have_removed_keys_that_changed_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed = {"drawn_epochs": 0, "network.dropout": None}
    monkeypatch.setattr(TrainSegmenter, "removed_keys", removed)
    recipe, path = load_recipe("lite0-cpu"), tmp_path / "recipe.yaml"
    values = recipe.model_dump(mode="json")
    values["train_segmenter"]["drawn_epochs"] = 0
    values["train_segmenter"]["network"]["dropout"] = None
    path.write_text(f"{RECIPE_HEAD}\n{yaml.safe_dump(values)}")
    assert load_recipe(path) == recipe
    values["train_segmenter"]["drawn_epochs"] = 2
    path.write_text(f"{RECIPE_HEAD}\n{yaml.safe_dump(values)}")
    with pytest.raises(RecipeError, match=r"key 'train_segmenter\.drawn_epochs' was removed"):
        load_recipe(path)
    path.write_text(yaml.safe_dump(values | {"train_segmenter": {"drawn_epochs": 0}}))
    with pytest.raises(RecipeError, match=r"key 'train_segmenter\.drawn_epochs' was removed"):
        load_recipe(path)  # a user's own


@pytest.mark.parametrize(
    ("backbone", "stride", "likely"),
    [
        ({}, 16, 16),
        ({"output_stride": "auto"}, 16, 16),
        ({"name": "resnet38"}, 8, 8),
        ({"name": "resnet18"}, "auto", 16),
        ({"name": "resnet18", "output_stride": 8}, 8, 8),
        ({"name": "vit_small_patch14_dinov2"}, "auto", 14),
        ({"name": "swin_tiny_patch4_window7_224"}, "auto", 16),
    ],
)
def test_output_stride_is_known_or_found_when_the_network_is_built(
    backbone: dict[str, Any], stride: int | str, likely: int
) -> None:
    recipe = recipe_from({"train_cam": {"backbone": backbone}})
    for found in (recipe.train_cam.backbone, recipe.train_affinity.backbone):
        assert (found.output_stride, found.likely_stride) == (stride, likely)
