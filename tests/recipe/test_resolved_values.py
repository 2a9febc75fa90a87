"""The values of the shipped recipes, and the one meaning of a default."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tag2mask.errors import RecipeError
from tag2mask.recipe.loading import load_recipe

RESOLVED: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent / "resolved_recipes.json").read_text()
)
"""Values of the shipped recipes by dotted key: all of `lite0-cpu`, of others what differs."""


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        inner = flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        found |= inner
    return found


@pytest.mark.parametrize("name", RESOLVED)
def test_shipped_recipes_have_their_recorded_values(name: str) -> None:
    found = flat(load_recipe(name).model_dump(mode="json"))
    wanted = RESOLVED["lite0-cpu"] | RESOLVED[name]
    assert {key: found.get(key) for key in wanted} == wanted


ANOTHER: dict[str, Any] = {
    "train_cam.backbone.name": "resnet18",
    "train_cam.backbone.weights": "none",
    "train_cam.init_from": None,
    "train_segmenter.network.encoder": "resnet18",
}
"""Other values of keys where any text would be allowed, or where others depend on the key."""


def another_value(key: str, value: Any) -> Any:
    """Return a value of a key that differs from its default; None where none is found."""
    candidates = [ANOTHER.get(key), not value if isinstance(value, bool) else None]
    if isinstance(value, int | float) and not isinstance(value, bool):
        candidates += [value * 2, value + 1, value / 2]
    if isinstance(value, list):
        candidates += [value[:1], value[::-1]]
    candidates += ["published", "fixed", "untagged", "sgd", "none", "csv", 32, 0.5, 1]
    for candidate in candidates:
        try:
            load_recipe("lite0-cpu", [f"{key}={json.dumps(candidate)}"], effects=False)
        except RecipeError:
            continue
        if candidate is not None and candidate != value:
            return candidate
    return None


def test_a_file_with_one_key_is_the_default_recipe_with_that_key(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    default = load_recipe("lite0-cpu")
    nameless = {"name": default.name, "description": default.description}
    tried = 0
    for key, value in flat(default.model_dump(mode="json")).items():
        other = another_value(key, value) if "." in key else None
        if other is None:
            continue
        nested: Any = other
        for part in reversed(key.split(".")):
            nested = {part: nested}
        path.write_text(yaml.safe_dump(nested | nameless))
        wanted = load_recipe("lite0-cpu", [f"{key}={json.dumps(other)}"], effects=False)
        assert load_recipe(path, effects=False) == wanted, key
        tried += 1
    assert tried > 180
