"""The decision rule of an exported network: chosen on validation photos, refused, calibrated."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from local_segmenter import NAMES, LocalSegmenter
from small_runs import prepared
from tag2mask.artifacts.handles import PreparedData
from tag2mask.classes import ClassSet
from tag2mask.data.masks import write_mask
from tag2mask.errors import DataError
from tag2mask.recipe.sections import Prepare
from tag2mask.segmentation.inference.export_spec import DecisionRule
from tag2mask.segmentation.inference.labeling import SINGLE_VIEW, PhotoLabeler
from tag2mask.segmentation.standalone.decisions import Decisions
from tag2mask.steps.decision_rule import check_targets, decision_rule, parse_miss_rates, rule_lines
from tag2mask.steps.prepare import prepare


def write_data(
    root: Path, count: int = 60, *, masks: bool = False, groups: bool = False, missed: int = 0
) -> PreparedData:
    """Gray photos with a patch of each tagged color; of the first ``missed``, none is visible."""
    rng = np.random.default_rng(0)
    tags: list[str] = []
    lines = ["image,tags,split" + (",mask" if masks else "") + (",group" if groups else "")]
    for index in range(count):
        if not (groups and index % 2):
            tags = [name for name in NAMES if rng.random() < 0.5]
        pixels = np.full((48, 64, 3), 70, np.uint8)
        mask = np.zeros((48, 64), np.uint8)
        for place, name in enumerate(NAMES):
            if name in tags and index >= missed:
                size = int(rng.integers(8, 16))
                part = np.s_[16 * place : 16 * place + size, 8 : 8 + size]
                pixels[part] = np.eye(3, dtype=np.uint8)[place] * 250
                mask[part] = place + 1
            elif rng.random() < 0.4:  # a speck that is not an object
                pixels[16 * place : 16 * place + 3, 40:43] = np.eye(3, dtype=np.uint8)[place] * 250
        photo = root / "photos" / f"{index // 2}_{'ab'[index % 2]}.png"
        photo.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(photo)
        row = [photo.name, ";".join(tags), "train" if index < 2 else "val"]
        if masks:
            write_mask(root / "photos/masks" / photo.name, mask, [(0, 0, 0)] * 4)
            row.append(f"masks/{photo.name}")
        lines.append(",".join([*row, *([f"part {index // 2}"] if groups else [])]))
    (root / "photos" / "tags.csv").write_text("\n".join(lines) + "\n")
    (root / "photos" / "classes.txt").write_text("\n".join(NAMES) + "\n")
    return prepared(root / "photos", root / "prepare")


def labeler() -> PhotoLabeler:
    return PhotoLabeler(LocalSegmenter(), replace(SINGLE_VIEW, long_side=64, confidence="uint8"))


def rule_of(data: PreparedData, *rates: str) -> DecisionRule:
    return decision_rule(data, labeler(), parse_miss_rates(rates))


def test_specks_are_not_decided(tmp_path: Path) -> None:
    data = write_data(tmp_path)
    rule = rule_of(data, "0.2", "blue=none")
    assert list(rule.classes) == ["red", "green"] and rule.units == "photos"
    for each in rule.classes.values():
        assert each.with_class + each.without_class == 58 and each.miss_rate == 0.2
        assert each.missed <= 2 and each.false_alarms <= 2
    lines = rule_lines(rule)
    assert any("decisions: red: area >= " in line and "photos missed" in line for line in lines)


def test_the_rule_decides_its_own_photos(tmp_path: Path) -> None:
    """What the table decides are the areas and confidences that the rule was chosen by."""
    data = write_data(tmp_path)
    rule = rule_of(data, "0.2")
    table = Decisions(tmp_path, NAMES, asdict(rule))
    wrong = 0
    for path in sorted((tmp_path / "photos").glob("*.png"))[:20]:
        found = labeler()(Image.open(path))
        table.add(path.stem, "now", found.labels, found.confidence)
    rows = (tmp_path / "decisions.csv").read_text().splitlines()[1:]
    tags = dict(
        line.split(",")[:2] for line in (tmp_path / "photos/tags.csv").read_text().splitlines()[1:]
    )
    for row in rows:
        photo, _, _, decision, *_ = row.split(",")
        wrong += set(decision.split(";")) - {"none"} != set(tags[f"{photo}.png"].split(";")) - {""}
    assert len(rows) == 20 and wrong <= 1


def test_a_rate_that_cannot_be_shown(tmp_path: Path) -> None:
    data = write_data(tmp_path, 20)
    with pytest.raises(DataError) as error:
        rule_of(data, "0.05")
    text = str(error.value)
    assert "can't show these miss rates" in text
    for name in NAMES:
        assert f"{name}: 0.05 is less than 0." in text
    assert "CLASS=none" in text


def test_groups_are_the_units(tmp_path: Path) -> None:
    rule = rule_of(write_data(tmp_path, groups=True), "0.4")
    assert rule.units == "groups" and rule.group is not None
    assert {each.with_class + each.without_class for each in rule.classes.values()} == {29}
    assert Decisions(tmp_path, NAMES, asdict(rule)).group_of("4711_c") == "4711"
    assert "groups missed" in " ".join(rule_lines(rule))


def test_calibrated_by_masks_or_tags_and_said(tmp_path: Path) -> None:
    by_masks = rule_of(write_data(tmp_path / "masks", masks=True), "0.2")
    assert by_masks.temperature_from == "masks" and by_masks.temperature != 1
    by_tags = rule_of(write_data(tmp_path / "tags"), "0.2")
    assert by_tags.temperature_from == "tags"
    assert "calibrated on tags, temperature" in rule_lines(by_tags)[0]
    few = rule_of(write_data(tmp_path / "few", 12), "0.7")
    assert (few.temperature_from, few.temperature) == (None, 1.0)
    assert "too few masks and tags to calibrate" in rule_lines(few)[0]


def test_bad_targets(tmp_path: Path) -> None:
    data = write_data(tmp_path, 12)
    with pytest.raises(DataError, match="no class 'yellow'"):
        rule_of(data, "0.9", "yellow=0.5")
    for text in ("0", "1", "nan", "red=", "none", "red=-1", "x"):
        with pytest.raises(DataError, match="is not a miss rate"):
            parse_miss_rates([text])


def test_classes_that_a_decision_cannot_hold(tmp_path: Path) -> None:
    write_data(tmp_path, 12)
    (tmp_path / "photos/classes.txt").write_text("cut;dent\nred\ngreen\nblue\n")
    data, classes = (
        prepared(tmp_path / "photos", tmp_path / "again"),
        ClassSet(("cut;dent", *NAMES)),
    )
    with pytest.raises(DataError, match=r"'cut;dent' can't be told.*--miss-rate 'cut;dent=none'"):
        check_targets(data, classes, {"": 0.5})
    assert check_targets(data, classes, {"": 0.5, "cut;dent": None}) == dict.fromkeys(NAMES, 0.5)


def test_no_validation_photos(tmp_path: Path) -> None:
    write_data(tmp_path, 12)
    table = tmp_path / "photos" / "tags.csv"
    table.write_text(table.read_text().replace(",val", ",train"))
    with pytest.raises(DataError, match="needs validation photos"):
        rule_of(prepare(tmp_path / "photos", Prepare(val_fraction=0.0), tmp_path / "again"), "0.5")
