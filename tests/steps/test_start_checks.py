"""What steps refuse because of settings and the list of photos, before a run starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tag2mask.artifacts.handles import PreparedData, ReportPage
from tag2mask.artifacts.step_table import STEPS
from tag2mask.data.inventory import Inventory, InventoryEntry
from tag2mask.data.splits import Split
from tag2mask.errors import Tag2MaskError
from tag2mask.recipe.loading import load_recipe
from tag2mask.steps.start_checks import START_CHECKS, Start


def photo(name: str, split: Split, *, mask: str | None = None, outline: str = "") -> InventoryEntry:
    return InventoryEntry(name, split, ("cat",), f"{name}.jpg", "1-1", mask, outline)


def start(*overrides: str, masks: bool = True) -> Start:
    entries = (
        *(photo(f"t{index}", "train", mask="m.png" if masks else None) for index in range(3)),
        photo("v0", "val", outline="7-7" if masks else ""),
    )
    inventory = Inventory("csv", Path("photos"), ("cat",), entries)
    return Start(load_recipe("lite0-cpu", overrides), inventory)


def refused(begun: Start) -> list[str]:
    """Return the messages of all steps."""
    found = []
    for check in START_CHECKS.values():
        try:
            check(begun)
        except Tag2MaskError as error:
            found.append(str(error))
    return found


def test_every_step_has_a_check_but_those_that_can_refuse_nothing() -> None:
    without = [kind.step for kind in STEPS if kind not in START_CHECKS]
    assert without == [PreparedData.step, "predict", ReportPage.step]


@pytest.mark.parametrize("masks", [True, False])
def test_the_defaults_start_with_and_without_masks(masks: bool) -> None:
    assert refused(start(masks=masks)) == []


@pytest.mark.parametrize("section", ["affinity_labels", "walk", "pseudo_masks"])
def test_a_calibration_needs_masks_of_training_photos(section: str) -> None:
    setting = f"{section}.threshold_from=calibrated"
    assert refused(start(setting)) == []
    (message,) = refused(start(setting, masks=False))
    assert message.startswith(f"{section}: the background threshold can't be calibrated: no train")


def test_class_thresholds_must_be_of_classes_of_the_data() -> None:
    assert refused(start("pseudo_masks.class_thresholds.cat=0.6")) == []
    (message,) = refused(start("pseudo_masks.class_thresholds={hores: 0.6}"))
    assert "no class of the data: 'hores'" in message and "pseudo_masks.class_thresholds" in message


def test_a_threshold_that_an_alpha_replaces_needs_no_masks() -> None:
    recipe = load_recipe(
        "lite0-cpu", ["walk.alpha=4", "walk.threshold_from=calibrated"], effects=False
    )
    assert refused(Start(recipe, start(masks=False).inventory)) == []


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("train_segmenter.masks=ground truth", "no training photo has a mask to train on"),
        ("train_segmenter.validate_epochs=1", "no validation photo has a mask to validate on"),
    ],
)
def test_masks_of_the_data_must_exist_where_training_reads_them(setting: str, words: str) -> None:
    assert refused(start(setting)) == []
    (message,) = refused(start(setting, masks=False))
    assert message.startswith(words)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["infer_cam.splits=[val]"], "no training photo gets maps, which walk.enabled=true needs"),
        (
            ["infer_cam.splits=[val]", "walk.enabled=false"],
            "no training photo gets maps, which train_segmenter.enabled=true needs",
        ),
    ],
)
def test_later_steps_need_maps_of_training_photos(settings: list[str], words: str) -> None:
    assert refused(start(*settings))[0].startswith(words)
    without = ["infer_cam.splits=[val]", "walk.enabled=false", "train_segmenter.enabled=false"]
    assert refused(start(*without)) == []


def test_batches_must_be_shared_among_the_devices() -> None:
    messages = refused(start("runtime.devices=4"))
    assert [message.split(" [")[1].split("]")[0] for message in messages] == [
        "train_cam.batch_size",
        "train_affinity.batch_size",
        "train_segmenter.batch_size",
    ]
    assert messages[0].startswith("batches of 3 photos can't be shared among 4 processes")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "no list of ids"),
        ("t9\n", "photos not in the data: t9"),
        ("t0\nt1\nt2\nv0\n", "every photo that could be scored is to be left out"),
        ("t0\n", ""),
    ],
)
def test_photos_to_leave_out_must_exist(tmp_path: Path, text: str | None, words: str) -> None:
    file = tmp_path / "ids.txt"
    if text is not None:
        file.write_text(text)
    messages = refused(start(f"evaluate.leave_out={file}"))
    assert len(messages) == bool(words) and all(m.startswith(words) for m in messages)


def test_a_model_to_start_from_must_exist(tmp_path: Path) -> None:
    file = tmp_path / "m.safetensors"
    for section in ("train_cam", "train_segmenter"):
        assert "no such model file" in refused(start(f"{section}.init_from={file}"))[0]
