"""Modules of the user's own in recipes: names, consent, and settings that they replace."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tag2mask.errors import PartError, RecipeError
from tag2mask.recipe.loading import RECIPE_HEAD, dump_recipe, load_recipe

PCM, LOSS = "train_cam.pcm.module=lab.pcm:Gate", "train_cam.losses.extra=[{module: lab:Loss}]"


@pytest.fixture
def of_run(tmp_path: Path) -> Path:
    """A recipe that a run wrote, with two modules."""
    path = tmp_path / "recipe.yaml"
    path.write_text(f"{RECIPE_HEAD}\n{dump_recipe(load_recipe('tiny', [PCM, LOSS]))}")
    return path


def test_modules_of_a_run_need_consent(of_run: Path) -> None:
    with pytest.raises(PartError, match=r"lab.pcm:Gate, lab:Loss.*--allow-modules"):
        load_recipe(of_run)
    with pytest.raises(PartError, match=r"names lab:Loss,"):
        load_recipe(of_run, [PCM])
    with pytest.raises(PartError, match=r"names lab\.pcm:Gate,"):
        load_recipe(of_run, ["train_cam.pcm.module=lab.pcm:Gate", LOSS, "name=lab.pcm:Gate"][1:])
    allowed = load_recipe(of_run, allow_modules=True)
    assert load_recipe(of_run, [PCM, LOSS]) == allowed
    assert set(allowed.train_cam.modules().values()) == {"lab.pcm:Gate", "lab:Loss"}
    assert load_recipe(of_run, ["train_cam.pcm.module=null", LOSS]).train_cam.pcm.module is None


def test_modules_of_a_file_of_the_user_need_none(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"train_cam": {"views": {"module": "lab:Views"}}}))
    section = load_recipe(path).train_cam
    assert section.modules() == {"views.module": "lab:Views"}
    assert section.plain_start().modules() == {}
    off = load_recipe(path, ["train_cam.views.enabled=false"], effects=False).train_cam
    assert off.modules() == {}


@pytest.mark.parametrize("name", ["lab", "lab:", ":Part", "lab.pcm.Part", "lab/pcm:Part", "a..b:C"])
def test_a_name_without_module_and_class_is_refused(name: str) -> None:
    with pytest.raises(RecipeError, match=r"train_cam.pcm.module: not package.module:Class"):
        load_recipe("tiny", [f"train_cam.pcm.module='{name}'"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ([PCM, "train_cam.pcm.power=2"], "pcm.power has no effect with train_cam.pcm.module"),
        (["train_cam.views.module=a:B", "train_cam.views.flip=0.5"], "views.flip has no effect"),
        (["train_cam.pcm.options.size=3"], "train_cam.pcm.options: set train_cam.pcm.module too"),
        ([PCM, "train_cam.pcm.enabled=false"], "train_cam.pcm.module has no effect"),
        (["train_cam.losses.extra=[{module: a:B, weigth: 1}]"], "unknown key"),
        (["train_cam.losses.extra=[{module: a:B, weight: 0}]"], "greater than 0"),
    ],
)
def test_settings_that_do_not_fit_a_module(settings: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe("tiny", settings)


def test_an_extra_loss_alone_trains_a_network() -> None:
    off = ["train_cam.losses.cls=0", "train_cam.losses.er=0", "train_cam.warm_start=0"]
    with pytest.raises(RecipeError, match="no term trains the network"):
        load_recipe("lite0-cpu", off)
    assert load_recipe("lite0-cpu", [*off, LOSS]).train_cam.losses.extra[0].weight == 1.0
