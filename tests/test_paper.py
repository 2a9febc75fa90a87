"""docs/paper.md names existing functions, tests and settings, and docstring examples run."""

from __future__ import annotations

import ast
import doctest
import re
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tag2mask.recipe.loading import load_recipe

ROOT = Path(__file__).resolve().parents[1]
CODE = re.compile(r"`([^`]+)`")
METHODS = [
    ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)
    for package in ("seam", "affinity", "maps", "crf")
    for path in sorted((ROOT / "src" / "tag2mask" / package).glob("*.py"))
    if path.name != "__init__.py"
]
WITH_EXAMPLE = (
    "tag2mask.seam.network.SeamNet",
    "tag2mask.seam.transform.ViewTransform",
    "tag2mask.seam.pcm.pcm_input",
    "tag2mask.seam.pcm.correlate",
    "tag2mask.seam.pcm.PixelCorrelation",
    "tag2mask.seam.losses.max_norm",
    "tag2mask.seam.losses.classification",
    "tag2mask.seam.losses.equivariance",
    "tag2mask.seam.losses.cross_equivariance",
    "tag2mask.seam.losses.min_pooling",
    "tag2mask.seam.objective.present_channels",
    "tag2mask.seam.multi_scale_inference.MultiScaleInference",
    "tag2mask.seam.map_sums.scale_maps",
    "tag2mask.seam.mdc.MdcHead",
    "tag2mask.seam.mdc.localization_map",
    "tag2mask.affinity.labels.agreed_labels",
    "tag2mask.affinity.dataset.reduce_labels",
    "tag2mask.affinity.pairs.pair_offsets",
    "tag2mask.affinity.pairs.existing_pairs",
    "tag2mask.affinity.network.AffinityNet",
    "tag2mask.affinity.network.pair_affinity",
    "tag2mask.affinity.loss.pair_labels",
    "tag2mask.affinity.loss.affinity_terms",
    "tag2mask.affinity.random_walk.random_walk",
    "tag2mask.affinity.random_walk.RandomWalk",
    "tag2mask.crf.dense_crf.DenseCrf",
)


WITH_FORMULA = (
    "tag2mask.seam.pcm.correlate",
    "tag2mask.seam.losses.equivariance",
    "tag2mask.seam.losses.cross_equivariance",
    "tag2mask.seam.losses.min_pooling",
    "tag2mask.affinity.loss.affinity_terms",
    "tag2mask.affinity.random_walk.random_walk",
    "tag2mask.crf.dense_crf.DenseCrf",
)


class Row(NamedTuple):
    """One row of the page's tables of parts."""

    part: str
    function: str
    test: str
    settings: list[str]
    values: list[str]


def rows() -> list[Row]:
    found = []
    for line in (ROOT / "docs" / "paper.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 6 and (functions := CODE.findall(cells[2])):
            (function,), (test,) = functions, CODE.findall(cells[3])
            found.append(
                Row(cells[1], function, test, CODE.findall(cells[4]), CODE.findall(cells[5]))
            )
    return found


ROWS = rows()


def resolve(name: str) -> Any:
    """Import the class or function of a dotted name."""
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(module), attribute)


def test_the_page_covers_the_method() -> None:
    assert len(ROWS) >= 30
    functions = {row.function for row in ROWS}
    for package in ("seam", "affinity", "maps", "crf", "segmentation", "metrics"):
        assert any(name.startswith(f"tag2mask.{package}.") for name in functions), package


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.part)
def test_function_and_test_exist(row: Row) -> None:
    assert callable(resolve(row.function))
    file, _, name = row.test.partition("::")
    tree = ast.parse((ROOT / file).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", [row for row in ROWS if row.settings], ids=lambda row: row.part)
def test_settings_have_the_published_values(row: Row) -> None:
    recipe: Any = load_recipe("voc12-resnet38-paper").model_dump(mode="json")
    for setting, value in zip(row.settings, row.values, strict=True):
        found = recipe
        for key in setting.split("."):
            found = found[key]
        assert found == yaml.safe_load(value), setting


@pytest.mark.parametrize("name", WITH_EXAMPLE)
def test_the_docstring_has_an_example(name: str) -> None:
    assert ">>>" in resolve(name).__doc__


@pytest.mark.parametrize("module", METHODS)
def test_examples_run(module: str) -> None:
    results = doctest.testmod(import_module(module))
    assert results.failed == 0


@pytest.mark.parametrize("name", WITH_FORMULA)
def test_the_docstring_has_formula_and_link(name: str) -> None:
    text = resolve(name).__doc__
    assert re.search(r"::\n\n {8}\S", text)
    assert "https://arxiv.org/abs/" in text or "https://github.com/" in text
