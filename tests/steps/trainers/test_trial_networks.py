"""Trial construction of networks before a run: errors are reported, nothing is changed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import timm
import torch

from tag2mask.artifacts.handles import AffinityModel, CamModel, Handle, SegmenterModel, section_name
from tag2mask.artifacts.step_table import MODELS
from tag2mask.errors import RecipeError, WeightsError
from tag2mask.recipe.loading import recipe_from
from tag2mask.recipe.schema import Recipe
from tag2mask.steps.trainers.trial_networks import try_network

NETWORK = "train_segmenter", "network"
BACKBONE = "train_affinity", "backbone"


def tried(
    run: Path, *, settings: dict[str, object] | None = None, of: tuple[str, str] = NETWORK
) -> None:
    recipe: Recipe = recipe_from({of[0]: {of[1]: settings or {}}})
    for kind in (AffinityModel, SegmenterModel):
        try_network(kind, recipe, run, cam_due=True)


def test_valid_networks_change_nothing(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    tried(tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), before)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("of", "settings", "message"),
    [
        (NETWORK, {"encoder": "tf_efficientnet_lite9", "weights": "none"}, "tf_efficientnet_lite"),
        (NETWORK, {"architecture": "deeplabv4"}, "no architecture 'deeplabv4'"),
        (NETWORK, {"output_stride": 32}, "train_segmenter: .*output stride"),
        (BACKBONE, {"name": "resnet1", "weights": "none"}, "train_affinity: no backbone 'resnet1'"),
    ],
)
def test_a_network_that_cannot_be_built_is_reported(
    tmp_path: Path, of: tuple[str, str], settings: dict[str, object], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        tried(tmp_path / "run", settings=settings, of=of)


def test_an_unsupported_crop_is_reported(tmp_path: Path) -> None:
    recipe: Recipe = recipe_from({"train_segmenter": {"crop": 100}})
    with pytest.raises(RecipeError, match=r"train_segmenter: .* multiples of \d+ px.*not 100"):
        try_network(SegmenterModel, recipe, tmp_path, cam_due=False)


def test_published_training_of_another_network_is_reported(tmp_path: Path) -> None:
    published = {"behavior": "published", "freeze_batch_norm": False, "absent_weight": 0.0}
    recipe = recipe_from({"train_segmenter": published})
    with pytest.raises(RecipeError, match=r"training of deeplabv1, not of deeplabv3plus.*default"):
        try_network(SegmenterModel, recipe, tmp_path, cam_due=False)


@pytest.mark.parametrize("of", [NETWORK, BACKBONE])
def test_weights_must_exist_unless_the_run_writes_them(tmp_path: Path, of: tuple[str, str]) -> None:
    run = tmp_path / "run"
    with pytest.raises(WeightsError, match="no such weight file"):
        tried(run, settings={"weights": str(tmp_path / "lost.pth")}, of=of)
    tried(run, settings={"weights": str(run / "train-cam" / "model.safetensors")}, of=of)


def test_packaged_is_not_a_file_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match="train_segmenter: no packaged weights for 'resnet18'"):
        tried(Path(), settings={"encoder": "resnet18", "weights": "packaged"})


def test_the_cam_network_is_tried_too(tmp_path: Path) -> None:
    unknown: dict[str, object] = {"backbone": {"name": "resnet1"}}
    with pytest.raises(RecipeError, match=r"train_cam: .*resnet1"):
        try_network(CamModel, recipe_from({"train_cam": unknown}), tmp_path, cam_due=True)
    continued = recipe_from({"train_cam": {**unknown, "init_from": "model.safetensors"}})
    try_network(CamModel, continued, tmp_path, cam_due=True)


@pytest.mark.parametrize("kind", [CamModel, AffinityModel])
def test_a_patch_larger_than_the_crop_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Handle]
) -> None:
    section = section_name(kind.step)
    create = timm.create_model
    large = {"patch_size": 40, "img_size": 80}
    monkeypatch.setattr(timm, "create_model", lambda *a, **o: create(*a, **large, **o))
    recipe = recipe_from(
        {
            section: {
                "backbone": {"name": "test_vit", "weights": "none", "output_stride": "auto"},
                "crop": 32,
            }
        }
    )
    with pytest.raises(
        RecipeError, match=rf"{section}: a crop of 32 px is smaller than a patch .* 40 px \[crop\]"
    ):
        try_network(kind, recipe, tmp_path, cam_due=False)


def test_a_backbone_that_is_built_anyway_is_not_built_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []

    def build(spec: object, weights: str) -> SimpleNamespace:
        built.append(weights)
        return SimpleNamespace(backbone=None)

    monkeypatch.setattr("tag2mask.steps.trainers.trial_networks.build_affinity_net", build)
    recipe = Recipe()
    try_network(AffinityModel, recipe, tmp_path, cam_due=True)
    assert built == []
    try_network(AffinityModel, recipe, tmp_path, cam_due=False)
    continued = recipe_from({"train_cam": {"init_from": "model.safetensors"}})
    try_network(AffinityModel, continued, tmp_path, cam_due=True)
    assert built == ["packaged"] * 2


@pytest.mark.parametrize("kind", MODELS)
def test_a_network_is_built_without_its_weights_if_nothing_may_be_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Handle]
) -> None:
    def fetch(*_: object, **__: object) -> None:
        raise WeightsError("no connection")

    monkeypatch.setattr("timm.models._builder.load_pretrained", fetch)
    network = "network" if kind is SegmenterModel else "backbone"
    recipe: Recipe = recipe_from({section_name(kind.step): {network: {"weights": "hub"}}})
    with pytest.raises(WeightsError):
        try_network(kind, recipe, tmp_path, cam_due=False)
    try_network(kind, recipe, tmp_path, cam_due=False, download=False)
