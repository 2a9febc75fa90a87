"""Recipes from YAML files and ``--set``, with readable errors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from tag2mask.artifacts.section_values import flat_values
from tag2mask.errors import RecipeError, nearest_hint
from tag2mask.recipe.effects import check_effects
from tag2mask.recipe.modules import check_consent, module_names
from tag2mask.recipe.renamed import (
    COMMON_NAMES,
    REMOVED_KEYS,
    RENAMED_KEYS,
    RENAMED_VALUES,
    current_name,
)
from tag2mask.recipe.schema import INHERITING, Recipe, inner_section
from tag2mask.recipe.settings_files import find_settings, parse_settings, shipped_settings
from tag2mask.text.excerpt import excerpt
from tag2mask.text.yaml_text import parse_yaml

_SHOWN_PROBLEMS = 20
RECIPE = "recipe.yaml"
"""File of a run's resolved recipe."""
RECIPE_HEAD = "# The settings of this run, as `tag2mask run` took them."
"""First line of the recipe in a run folder."""


def shipped_recipes() -> dict[str, str]:
    """Return the texts of the recipes in the package, by name."""
    return shipped_settings("tag2mask.recipe", "recipes")


def load_recipe(
    name_or_file: str | Path,
    overrides: Sequence[str] = (),
    *,
    effects: bool = True,
    allow_modules: bool = False,
) -> Recipe:
    """Load a shipped recipe by name, or a YAML file, apply overrides and check it.

    Args:
        name_or_file: a shipped name (``lite0-cpu``) or the path of a YAML file.
        overrides: ``section.key=value`` strings; values are YAML.
        effects: check that the overrides, and the settings of a file that no run wrote, have an
            effect; see `tag2mask.recipe.effects`.
        allow_modules: accept modules that a recipe of a run names, see `tag2mask.recipe.modules`.

    Raises:
        RecipeError: no such recipe, not YAML, unknown keys (with the nearest known one), invalid
            values, or settings without effect; all problems of one kind at once.
        PartError: a run's recipe names modules that ``overrides`` don't name.
    """
    shipped = shipped_recipes()
    text, where = find_settings(name_or_file, shipped, "recipe")
    values = parse_settings(text, where, "a recipe is a mapping of sections")
    written = str(name_or_file) in shipped or text.startswith(RECIPE_HEAD)
    if text.startswith(RECIPE_HEAD):
        _add_later_keys(values)
        _drop_removed_keys(values)
    alone = None if written or not effects else _valid_recipe(values)
    given: dict[str, Any] = {}
    for override in overrides:
        given |= flat_values(_override(values, override))
    recipe = recipe_from(values, where=where)
    if written and not allow_modules:
        named = module_names(recipe.model_dump(mode="json"))
        check_consent(named, module_names(given), where=where)
    if effects:
        own = None if written else alone or recipe
        check_effects(recipe, given, own, where=where)
    return recipe


def path_override(key: str, path: Path) -> str:
    """Return the ``section.key=value`` of a path, made absolute, whatever characters it has."""
    return f"{key}={json.dumps(str(path.absolute()), ensure_ascii=False)}"


def _add_later_keys(values: dict[str, Any]) -> None:
    """Give a run's recipe the keys that were added since, with what was done before they were.

    With their defaults, which may be others, the run would differ from its own recipe.
    """
    for name, field in Recipe.model_fields.items():
        added = getattr(field.annotation, "added_keys", {})
        for key, value in added.items():
            here, last = _holder(values, f"{name}.{key}")
            here.setdefault(last, dict(value) if isinstance(value, Mapping) else value)


def _drop_removed_keys(values: dict[str, Any]) -> None:
    """Drop the keys of a run's recipe that were removed since and changed nothing in this run."""
    for name, field in Recipe.model_fields.items():
        for key, value in getattr(field.annotation, "removed_keys", {}).items():
            here, last = _holder(values, f"{name}.{key}")
            if last in here and here[last] == value:
                del here[last]


def _holder(values: dict[str, Any], key: str) -> tuple[dict[str, Any], str]:
    """Return the mapping that holds a dotted key, an empty one if there is none, and its name."""
    *outer, last = key.split(".")
    here: Any = values
    for part in outer:
        here = here.get(part) if isinstance(here, dict) else None
    return (here if isinstance(here, dict) else {}), last


def _valid_recipe(values: Mapping[str, Any]) -> Recipe | None:
    try:
        return recipe_from(values)
    except RecipeError:
        return None


def recipe_from(values: Mapping[str, Any], *, where: str = "recipe") -> Recipe:
    """Check a mapping of sections and return the recipe.

    Raises:
        RecipeError: all unknown keys and invalid values at once.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        problems = [
            _readable(problem)
            for problem in _causes(error)
            if not _inherited(problem["loc"], values)
        ]
        raise RecipeError(
            joined_problems(problems),
            where=where,
            fix="`tag2mask recipe show lite0-cpu` lists every key.",
        ) from None


def joined_problems(problems: Sequence[str]) -> str:
    """Return the first problems as one text, and how many more there are."""
    more = len(problems) - _SHOWN_PROBLEMS
    return "; ".join(problems[:_SHOWN_PROBLEMS]) + (f"; and {more} more" if more > 0 else "")


def _causes(error: ValidationError) -> list[Any]:
    """Return its problems, without "too short" for lists that also have invalid values."""
    problems = error.errors()
    inner = {problem["loc"][:-1] for problem in problems}
    return [
        problem
        for problem in problems
        if problem["type"] != "too_short" or problem["loc"] not in inner
    ]


def _inherited(location: Sequence[Any], values: Mapping[str, Any]) -> bool:
    """Return whether ``train_cam.backbone``, whose problem is reported, passed a value on."""
    if tuple(location[:2]) not in INHERITING or len(location) < 3:
        return False
    own = inner_section(values, location[0], location[1])
    return own is not None and location[2] not in own


def dump_recipe(recipe: Recipe) -> str:
    """Return the resolved recipe as YAML with every key."""
    dumped: str = yaml.dump(
        recipe.model_dump(mode="json"), Dumper=_Dumper, sort_keys=False, allow_unicode=True
    )
    return dumped


class _Dumper(yaml.SafeDumper):
    """Safe YAML dumper that quotes what plain YAML could lose.

    These are Unicode line breaks, and characters that the encoding of the output lacks: printed as
    escapes, they are read as themselves between double quotes alone.
    """

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Use double quotes where there are characters beyond ASCII."""
        style = None if data.isascii() else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)


def _override(values: dict[str, Any], override: str) -> dict[str, Any]:
    """Apply one override to the values in place, and return it as dotted key and value."""
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise RecipeError(
            f"override {excerpt(override)} is not section.key=value",
            where="--set",
            fix="Write it as in `--set train_cam.epochs=5`.",
        )
    try:
        value = parse_yaml(text)
    except ValueError as error:
        raise RecipeError(
            f"override {excerpt(override)}: the value is not valid YAML ({error})", where="--set"
        ) from None
    *sections, last = key.strip().split(".")
    here: Any = values
    for section in sections:
        here = here.setdefault(section, {}) if isinstance(here, dict) else None
    if not isinstance(here, dict):
        raise RecipeError(
            f"override {excerpt(override)}: {excerpt('.'.join(sections))} holds no keys",
            where="--set",
        )
    here[last] = value
    return {key.strip(): value}


def _readable(problem: Any) -> str:
    """Describe one pydantic problem in one clause."""
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        return _unknown_key(location)
    message = problem["msg"].removeprefix("Value error, ")
    if not key:
        return str(message)
    given = problem.get("input")
    renamed = RENAMED_VALUES.get(location[-1], {}).get(given) if isinstance(given, str) else None
    hint = f"; {given!r} is now called {renamed!r}" if renamed else ""
    return f"{key}: {message[0].lower() + message[1:]} (given {excerpt(given)}){hint}"


def _unknown_key(location: Sequence[str]) -> str:
    """Say that a recipe has no such key, and which key replaced it or is probably meant."""
    key, last = ".".join(location), location[-1]
    section = _section_at(location[:-1])
    if key in REMOVED_KEYS:
        return f"key {key!r} was removed: it was not shown to improve results"
    if RENAMED_KEYS.get(last) in section.model_fields:
        return f"key {key!r} is now called {current_name(key)!r}"
    return f"unknown key {excerpt(key)}{_nearest_keys(location)}"


def _nearest_keys(location: Sequence[str]) -> str:
    """Hint at the keys that an unknown one may stand for.

    Keys of this name, or of the name for it here, come first: those of the same step, and for a key
    outside of the steps those of all steps. Then the nearest spelling in the same section.
    """
    last = location[-1]
    names = {last, COMMON_NAMES.get(last, last), RENAMED_KEYS.get(last, last)}
    everywhere = [key for key in _all_keys(Recipe) if key.rsplit(".", 1)[-1] in names]
    same_step = [key for key in everywhere if key.startswith(f"{location[0]}.")]
    spelling = nearest_hint(last, _section_at(location[:-1]).model_fields)
    if same_step:
        return f"; did you mean {_either(same_step)}?"
    if spelling and not (len(location) == 1 and everywhere):
        prefix = "".join(f"{part}." for part in location[:-1])
        return spelling.replace("mean '", f"mean '{prefix}")
    return f"; did you mean {_either(everywhere)}?" if everywhere else ""


def _either(keys: Sequence[str], most: int = 3) -> str:
    """Join quoted keys by commas and "or"; of many, only the first few."""
    *others, last = [repr(key) for key in keys[:most]]
    if len(keys) > most:
        return f"{', '.join([*others, last])} or one of {len(keys) - most} more"
    return f"{', '.join(others)} or {last}" if others else last


def _section_at(location: Sequence[str]) -> type[BaseModel]:
    """Return the class of the innermost section on the way to a key."""
    section: type[BaseModel] = Recipe
    for part in location:
        annotation = section.model_fields[part].annotation if part in section.model_fields else None
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            section = annotation
    return section


def _all_keys(section: type[BaseModel], prefix: str = "") -> list[str]:
    """Return the dotted names of all keys and inner sections, in the recipe's order."""
    keys: list[str] = []
    for name, field in section.model_fields.items():
        annotation = field.annotation
        if prefix or not isinstance(annotation, type) or not issubclass(annotation, BaseModel):
            keys.append(prefix + name)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            keys += _all_keys(annotation, f"{prefix}{name}.")
    return keys
