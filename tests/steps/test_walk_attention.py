"""The walk along the attention of the CAM network's ViT, in place of AffinityNet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from affinity_scenes import affinity_model, paint
from PIL import Image
from scenes import NAMES, Scene

import small_runs
from tag2mask.affinity import attention
from tag2mask.affinity.attention import AttentionInference
from tag2mask.artifacts.handles import (
    AffinityLabels,
    AffinityModel,
    CamModel,
    Evaluation,
    WalkedMaps,
)
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.errors import RecipeError, WeightsError
from tag2mask.maps.background_threshold import against_background
from tag2mask.maps.cam_map import read_map
from tag2mask.pipeline.estimates import estimate
from tag2mask.recipe.loading import load_recipe
from tag2mask.recipe.maps_to_masks import PseudoMasks, Tune, Walk
from tag2mask.runtime.session import Runtime
from tag2mask.seam.model import OFFICIAL_SEAM, build_seam, load_backbone, save_seam
from tag2mask.steps.tune import tune
from tag2mask.steps.tuning_result import BEST, read_tuning, recipe_values
from tag2mask.steps.walk import walk

SECTION = Walk(affinity="attention", alpha=2.0, long_side=64, precision="32")
CPU = torch.device("cpu")


def cam_model(out: Path, backbone: str = "test_vit", *, spoilt: bool = False) -> CamModel:
    """Write an untrained CAM network."""
    torch.manual_seed(0)
    spec = replace(OFFICIAL_SEAM, classes=NAMES, backbone=backbone, output_stride=16)
    net = build_seam(spec)
    if spoilt:
        with torch.no_grad():
            next(net.backbone.parameters())[0] = float("nan")  # type: ignore[attr-defined]
    with step_folder(CamModel, out, section={"backbone": backbone}) as step:
        save_seam(out / "model.safetensors", net, spec)
        return step.finish()


@pytest.fixture
def painted(scene: Scene) -> Scene:
    return paint(scene)


@pytest.fixture
def model(tmp_path: Path) -> CamModel:
    return cam_model(tmp_path / "train-cam")


def make(
    scene: Scene, model: CamModel | AffinityModel, section: Walk = SECTION, name: str = "walk"
) -> WalkedMaps:
    return walk(scene.data, scene.maps, model, section, scene.root / name, small_runs.one_rank())


def test_one_step_is_the_default_along_attention() -> None:
    assert (Walk().steps, SECTION.steps) == (16, 1)
    assert Walk(affinity="attention", steps=3).steps == 3
    for name in ("deit-s-gpu", "dinov2-s-gpu", "dinov3-s-gpu", "lite0-cpu"):
        assert load_recipe(name).walk.steps == 16
        assert load_recipe(name, ["walk.affinity=attention"]).walk.steps == 1


def test_the_step_walks_along_the_attention(painted: Scene, model: CamModel) -> None:
    handle = make(painted, model)
    assert handle.manifest.counts["photos"] == 11
    assert handle.manifest.inputs["model"].fingerprint == model.fingerprint
    inference = AttentionInference(load_backbone(model.file), CPU, long_side=64)
    for sample in painted.samples["train"][:3]:
        before = read_map(painted.map_path(sample.id))
        after = read_map(handle.path / "maps" / f"{sample.id}.npz")
        found = inference.affinity(Image.open(sample.image))
        walked = found.walk(beta=1.0).run(found.to_grid(before.scores, 2.0), steps=1)
        wanted = against_background(found.from_grid(walked, after.scores.shape[1:]))
        np.testing.assert_allclose(after.scores, wanted, atol=0.51 / 255)
        assert after.tags == sample.tags


@pytest.mark.parametrize("most", [0, 1200])
def test_photos_beside_others_have_the_same_maps(
    painted: Scene, model: CamModel, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    usual = make(painted, model)
    monkeypatch.setattr(attention, "SMALL_CELLS", most)
    threads = torch.get_num_threads()
    try:
        runtime = Runtime.start(device="cpu", workers=0, threads=2)
        out = painted.root / "two"
        two = walk(painted.data, painted.maps, model, SECTION, out, runtime)
    finally:
        torch.set_num_threads(threads)
    names = [path.relative_to(usual.path) for path in (usual.path / "maps").rglob("*.npz")]
    assert len(names) == 11
    for name in names:
        one, other = (read_map(handle.path / name) for handle in (usual, two))
        np.testing.assert_allclose(one.scores, other.scores, atol=1.01 / 255)


def test_affinities_of_another_network_are_refused(
    painted: Scene, model: CamModel, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=r"needs the network of train-cam, not of train-aff"):
        make(painted, affinity_model(tmp_path / "train-affinity"))
    trained = SECTION.model_copy(update={"affinity": "trained"})
    with pytest.raises(RecipeError, match=r"needs the network of train-affinity, not of train-c"):
        make(painted, model, trained)
    with pytest.raises(RecipeError, match=r"no ViT.*walk\.affinity.*Set it to trained"):
        make(painted, cam_model(tmp_path / "other", "test_efficientnet"))
    with pytest.raises(WeightsError, match=r"aren't finite.*train_cam\.optimizer\.lr"):
        make(painted, cam_model(tmp_path / "spoilt", spoilt=True))


def test_tune_finds_alpha_and_steps_but_no_beta(painted: Scene, model: CamModel) -> None:
    section = Tune(photos=4, alphas=(1.0, 4.0), betas=(1.0, 6.0), steps=(1, 2))
    out, runtime = painted.root / "tune", small_runs.one_rank()
    made = tune(painted.data, painted.maps, model, section, SECTION, PseudoMasks(), out, runtime)
    result = read_tuning(made)
    assert {tuned.setting.beta for tuned in result.ranked} == {SECTION.beta}
    assert len(result.ranked) == 3 * 2  # the recipe's own α is tried too
    values = recipe_values(result.best, SECTION)
    assert set(values["walk"]) == {"alpha", "steps"}
    assert "beta" not in (out / BEST).read_text()
    assert load_recipe(
        "lite0-cpu",
        ["walk.affinity=attention", *(f"walk.{key}={v}" for key, v in values["walk"].items())],
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["walk.beta=2"], r"walk\.beta has no effect with walk\.affinity=attention"),
        (["walk.radius=3"], r"walk\.radius has no effect with walk\.affinity=attention"),
        (["tune.betas=[1]"], r"tune\.betas has no effect with walk\.affinity=attention"),
        (["walk.scales=[1,2]"], r"walk\.scales: affinity attention is computed at scale 1"),
        (["walk.behavior=published"], r"walk\.behavior: published walks along AffinityNet's"),
    ],
)
def test_settings_of_affinitynet_are_refused(settings: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe("lite0-cpu", ["walk.affinity=attention", *settings])


def test_labels_of_affinitynet_do_not_matter_without_it() -> None:
    published = ["train_affinity.behavior=published"]
    with pytest.raises(RecipeError, match=r"affinity_labels\.behavior"):
        load_recipe("lite0-cpu", published)
    assert load_recipe("lite0-cpu", [*published, "walk.affinity=attention"])


def test_the_estimate_grows_with_the_square_of_the_cells() -> None:
    def memory(*settings: str) -> float:
        recipe = load_recipe("deit-s-gpu", settings)
        return estimate(recipe, train=100, val=0, gpu=False)["walk"].memory_mib

    attention, large = "walk.affinity=attention", "walk.long_side=1600"
    assert memory(attention, large) > memory(large) + 1000
    assert memory(attention) < memory() + 200


def test_a_run_without_affinitynet(tmp_path: Path) -> None:
    photos = small_runs.write_photos(tmp_path / "photos", 8, masks=True)
    run, recipe = tmp_path / "run", tmp_path / "recipe.yaml"
    small_runs.write_recipe(
        recipe,
        train_cam__backbone={"name": "test_vit", "weights": "none"},
        walk__affinity="attention",
        walk__steps=1,
        train_segmenter__enabled=False,
    )
    done = small_runs.invoke("run", "--data", photos, "--recipe", recipe, "--out", run)
    assert done.exit_code == 0, done.stderr
    assert not (run / AffinityLabels.step).exists() and not (run / AffinityModel.step).exists()
    walked, trained = WalkedMaps.open(run / "walk"), CamModel.open(run / "train-cam")
    assert walked.manifest.inputs["model"].fingerprint == trained.fingerprint
    assert "walk" in str(Evaluation.open(run / "evaluate").manifest.metrics)
    shown = small_runs.invoke("status", run)
    steps = [line.strip("│┃ ").split(" ")[0] for line in shown.stdout.splitlines()]
    assert shown.exit_code == 0 and "walk" in steps
    assert not {AffinityLabels.step, AffinityModel.step} & set(steps)
    again = small_runs.invoke("run", "--data", photos, "--recipe", recipe, "--out", run)
    assert again.exit_code == 0, again.stderr
    refused = small_runs.invoke(
        "run", "--data", photos, "--recipe", recipe, "--out", run, "--redo", "train-affinity"
    )
    assert refused.exit_code == 1
    assert "leaves train-affinity out" in refused.stderr
    assert "Set walk.affinity=trained" in refused.stderr
    # Another affinity: the walk is of other settings, and says so.
    other = small_runs.invoke(
        "run", "--data", photos, "--recipe", recipe, "--out", run, "--set", "walk.affinity=trained"
    )
    assert other.exit_code == 1
    assert 'walk.affinity: "attention"' in other.stderr
    # The step's own command takes the folder of the CAM network.
    own = small_runs.invoke(
        *("walk", "--data", run / "prepare", "--maps", run / "infer-cam"),
        *("--model", run / "train-cam", "--recipe", recipe, "--out", tmp_path / "walk"),
    )
    assert own.exit_code == 0, own.stderr
    one = next((run / "walk" / "maps").rglob("*.npz"))
    copy = tmp_path / "walk" / "maps" / one.relative_to(run / "walk" / "maps")
    assert copy.read_bytes() == one.read_bytes()


@pytest.mark.parametrize("setting", ["walk.affinity=attention", "infer_cam.branch=attention"])
def test_a_network_without_attention_ends_a_run_at_its_start(tmp_path: Path, setting: str) -> None:
    photos, recipe = small_runs.write_photos(tmp_path / "photos", 8), tmp_path / "recipe.yaml"
    small_runs.write_recipe(recipe)
    run = ("run", "--data", photos, "--recipe", recipe, "--out", tmp_path / "run")
    for words in (run, (*run, "--dry-run")):
        done = small_runs.invoke(*words, "--set", setting)
        output = done.stderr + done.stdout
        assert "no ViT" in output and setting.partition("=")[0] in output
    assert done.exit_code == 1
    assert not (tmp_path / "run" / "train-cam").exists()
