"""Ablation tables: their format, and readable errors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from tag2mask.ablation.table import load_table, row_options, row_recipe, shipped_tables
from tag2mask.errors import RecipeError
from tag2mask.recipe.loading import load_recipe
from tag2mask.steps.trainers.cam_task import ViewDraw

pytestmark = pytest.mark.smoke


def table_file(folder: Path, text: str) -> Path:
    path = folder / "table.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", sorted(shipped_tables()))
def test_every_row_of_every_shipped_table_has_a_recipe(name: str) -> None:
    table = load_table(name)
    assert table.description
    recipes = [row_recipe(table, row, row_options(table, row)) for row in table.rows]
    assert recipes[0] != recipes[1]
    # Two rows with equal recipes would be a mistake.
    distinct = {recipe.model_dump_json() for recipe in recipes}
    assert len(distinct) == len(recipes)


def test_rows_of_the_table_paper() -> None:
    table = load_table("paper")
    rows = {row.name: row_recipe(table, row, row_options(table, row)) for row in table.rows}
    cam, seam = rows["CAM"].train_cam, rows["SEAM"]
    assert not cam.views.enabled and not cam.pcm.enabled
    assert rows["+ ER"].train_cam.losses.er > 0 and not rows["+ ER"].train_cam.pcm.enabled
    assert rows["+ view-2 classification"].train_cam.losses.er == 0
    assert rows["+ PCM + ECR without mining"].train_cam.losses.ecr_top == 1.0
    assert seam.train_cam == load_recipe("lite0-cpu").train_cam
    assert rows["SEAM + CRF"].pseudo_masks.crf.iterations == 10
    assert rows["MDC"].train_cam.head == "mdc" and not rows["MDC"].train_cam.views.enabled
    for name in (name for name in rows if not name.startswith("segmenter on ")):
        network = rows[f"segmenter on {name}"]
        assert network.train_segmenter.enabled and not rows[name].train_segmenter.enabled
        same = {"name", "description", "train_segmenter"}
        assert network.model_dump(exclude=same) == rows[name].model_dump(exclude=same)
    assert rows["segmenter on ground truth"].train_segmenter.masks == "ground truth"
    assert rows["SEAM + walk"].walk.enabled and not seam.walk.enabled
    for name in ("CAM", "MDC"):
        assert rows[f"{name} + walk"].walk.enabled
        assert rows[f"{name} + walk"].train_cam == rows[name].train_cam
    views = {name: row.train_cam.views for name, row in rows.items() if name.startswith("SEAM: ")}
    assert views["SEAM: rescale 0.3"].scale == (0.3, 0.3)
    assert views["SEAM: rescale 0.5"].scale == (0.5, 0.5)
    moves = {
        name: (view.flip > 0, view.rotate > 0, view.translate > 0, view.scale == (1, 1))
        for name, view in views.items()
        if "rescale" not in name
    }
    assert moves == {
        "SEAM: flip": (True, False, False, True),
        "SEAM: rotation": (False, True, False, True),
        "SEAM: translation": (False, False, True, True),
    }


def test_the_views_of_a_row_always_differ() -> None:
    table = load_table("paper")
    for row in table.rows:
        train = row_recipe(table, row, row_options(table, row)).train_cam
        image = torch.rand(1, 3, train.crop, train.crop)
        if train.views.enabled:
            for step in range(20):
                view = ViewDraw(train.views, train.seed).at(step).image(image)
                assert view.shape != image.shape or not torch.equal(view, image), row.name


def test_settings_are_a_list_or_a_mapping_and_rows_override(tmp_path: Path) -> None:
    table = load_table(
        table_file(
            tmp_path,
            """
recipe: tiny
set: [train_cam.epochs=3, walk.enabled=false]
rows:
  - name: a
  - {name: b, set: {train_cam.epochs: 7, train_cam.views.scale: [0.3, 0.3]}}
  - {name: c, recipe: cam-baseline, set: [train_cam.pcm.enabled=true]}
""",
        )
    )
    a, b, c = table.rows
    assert row_options(table, b) == [
        "train_cam.epochs=7",
        "walk.enabled=false",
        "train_cam.views.scale=[0.3,0.3]",
    ]
    over = ["train_cam.epochs=5", "train_cam.seed=4"]
    assert row_options(table, a, over) == [
        "train_cam.epochs=5",
        "walk.enabled=false",
        "train_cam.seed=4",
    ]
    recipe = row_recipe(table, b, row_options(table, b, over))
    assert recipe == load_recipe(
        "tiny",
        [
            "train_cam.epochs=7",
            "walk.enabled=false",
            "train_cam.views.scale=[0.3, 0.3]",
            "train_cam.seed=4",
        ],
    )
    assert row_recipe(table, c, row_options(table, c)).name == "cam-baseline"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rows: []", ["rows", "at least 1 item"]),
        ("recipe: tiny", ["rows: field required"]),
        ("- a\n- b", ["a table is a mapping"]),
        ("rows: [{name: a, sett: []}]", ["unknown key 'rows.0.sett'", "did you mean 'set'?"]),
        ("rows: [{name: a}]\nrecpie: tiny", ["unknown key 'recpie'", "did you mean 'recipe'?"]),
        ("rows: [{name: a}, {name: a}]", ["names must differ, 'a' occurs twice"]),
        ("rows: [{name: 'a, b'}]", ["'a, b' has a comma"]),
        (
            "rows: [{name: cam}, {name: a, over: cma}]",
            ["'a' is compared with 'cma', which is no earlier row", "did you mean 'cam'?"],
        ),
        ("rows: [{name: a, over: b}, {name: b}]", ["'a' is compared with 'b'"]),
        ("rows: [{name: a, measure: maskz}]", ["rows.0.measure", "'masks'"]),
        ("rows: [{name: a, set: 5}, {name: ''}]", ["rows.0.set", "rows.1.name"]),
        ("rows: [{", ["not valid YAML"]),
        ("", ["rows: field required"]),
    ],
)
def test_errors_name_the_problem_and_the_file(tmp_path: Path, text: str, words: list[str]) -> None:
    path = table_file(tmp_path, text)
    with pytest.raises(RecipeError) as caught:
        load_table(path)
    assert all(word in str(caught.value) for word in [*words, str(path)]), caught.value


def test_unknown_table_or_row() -> None:
    with pytest.raises(RecipeError, match="did you mean 'paper'"):
        load_table("papre")
    table = load_table("paper")
    with pytest.raises(RecipeError, match=r"no row 'SEAM \+ wlak'; did you mean 'SEAM \+ walk'"):
        table.select_rows(["SEAM", "SEAM + wlak"])
    assert [row.name for row in table.select_rows(["SEAM", "CAM"]).rows] == ["CAM", "SEAM"]


def test_not_text(tmp_path: Path) -> None:
    path = tmp_path / "table.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="not UTF-8"):
        load_table(path)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"set": {"train_cam.epoch": 3}}, ["row 'a'", "unknown key 'train_cam.epoch'", "epochs"]),
        ({"set": ["train_cam.epochs"]}, ["row 'a'", "is not section.key=value"]),
        ({"recipe": "lite9"}, ["row 'a'", "no recipe 'lite9'"]),
        ({"measure": "walk", "set": {"walk.enabled": False}}, ["row 'a'", "walk.enabled=true"]),
        (
            {
                "measure": "CRF",
                "set": {
                    "evaluate.crf.enabled": False,
                    "walk.enabled": True,
                    "pseudo_masks.crf.enabled": True,
                },
            },
            ["row 'a'", "evaluate.crf.enabled=true"],
        ),
        (
            {"measure": "segmenter", "set": {"train_segmenter.enabled": False}},
            ["row 'a'", "train_segmenter.enabled=true"],
        ),
    ],
)
def test_errors_name_an_invalid_row(tmp_path: Path, row: dict, words: list[str]) -> None:
    table = load_table(table_file(tmp_path, yaml.safe_dump({"rows": [{"name": "a", **row}]})))
    with pytest.raises(RecipeError) as caught:
        row_recipe(table, table.rows[0], row_options(table, table.rows[0]))
    assert all(word in str(caught.value) for word in words), caught.value
