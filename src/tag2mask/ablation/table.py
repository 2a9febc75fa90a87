"""Ablation tables: named rows, each a recipe with a few values changed.

A table is a YAML file: a recipe, values that all rows share, and the rows. Here it is read and
checked, and every row is turned into the recipe that it means. Running it is ``ablation``'s.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, Field, ValidationError, model_validator

from tag2mask.errors import RecipeError, nearest_hint
from tag2mask.recipe.fields import Section
from tag2mask.recipe.loading import load_recipe, read_yaml
from tag2mask.recipe.schema import Recipe

Measure = Literal["maps", "CRF", "walk", "masks", "segmenter"]
"""What a row's number is taken from; docs/how-to/ablate.md says what each is."""


def _as_options(value: Any) -> Any:
    """A mapping of dotted keys as the ``section.key=value`` that ``--set`` takes."""
    if not isinstance(value, Mapping):
        return value
    return [f"{key}={json.dumps(entry, separators=(',', ':'))}" for key, entry in value.items()]


Settings = Annotated[tuple[str, ...], BeforeValidator(_as_options)]


class Row(Section):
    """One row: what it is called, and what of the recipe it changes."""

    name: Annotated[str, Field(min_length=1)]
    recipe: str | None = None
    """In place of the table's."""
    settings: Settings = Field(default=(), alias="set")
    """``section.key=value`` each, or a mapping of dotted keys."""
    measure: Measure | None = None
    """The row's own number; null: the segmenter where it trains one, else the masks."""


class Table(Section):
    """A table of rows."""

    description: str = ""
    recipe: str = "lite0-cpu"
    """Of the rows that name no other."""
    settings: Settings = Field(default=(), alias="set")
    """Of all rows; a row's own go over them."""
    rows: Annotated[tuple[Row, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _names(self) -> Table:
        names = [row.name for row in self.rows]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"rows: names must differ, {twice[0]!r} comes twice")
        commas = [name for name in names if "," in name or name != name.strip()]
        if commas:
            raise ValueError(
                f"rows: the name {commas[0]!r} has a comma in it, or spaces around; "
                "--rows tells names apart by commas"
            )
        return self

    def chosen(self, names: Sequence[str]) -> Table:
        """The table with these rows alone, in its own order.

        Raises:
            RecipeError: no such row; the nearest is named.
        """
        known = [row.name for row in self.rows]
        for name in names:
            if name not in known:
                raise RecipeError(
                    f"no row {name!r}{nearest_hint(name, known)}",
                    where="--rows",
                    fix=f"The rows are: {', '.join(known)}.",
                )
        return self.model_copy(update={"rows": tuple(r for r in self.rows if r.name in names)})


def shipped_tables() -> dict[str, str]:
    """Names and texts of the tables inside the package, by name."""
    folder = resources.files("tag2mask.ablation") / "tables"
    return {
        entry.name.removesuffix(".yaml"): entry.read_text(encoding="utf-8")
        for entry in sorted(folder.iterdir(), key=lambda e: e.name)
        if entry.name.endswith(".yaml")
    }


def load_table(name_or_file: str | Path) -> Table:
    """Load a shipped table by name, or a YAML file.

    Raises:
        RecipeError: no such table, not YAML, unknown keys (nearest named), impossible values; all
            problems at once. What the rows' recipes say is checked by `row_recipe`.
    """
    shipped = shipped_tables()
    path = Path(name_or_file)
    if str(name_or_file) in shipped:
        text, where = shipped[str(name_or_file)], f"table {name_or_file}"
    elif path.is_file():
        where = str(path)
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise RecipeError("not UTF-8 text", where=path, fix="Give a YAML file.") from None
    else:
        raise RecipeError(
            f"no table {str(name_or_file)!r}{nearest_hint(str(name_or_file), shipped)}",
            fix=f"Give a YAML file or one of: {', '.join(shipped)}.",
        )
    try:
        values = read_yaml(text)
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise RecipeError(f"not valid YAML: {problem}", where=where) from None
    if not isinstance(values, dict):
        raise RecipeError("a table is a mapping with a list of rows", where=where)
    try:
        return Table.model_validate(values)
    except ValidationError as error:
        raise RecipeError(
            "; ".join(_readable(problem) for problem in error.errors()),
            where=where,
            fix="docs/how-to/ablate.md says what a table holds.",
        ) from None


def row_options(table: Table, row: Row, overrides: Sequence[str] = ()) -> list[str]:
    """What a row sets, as ``--set`` takes it, in order: the last one of a key counts.

    The row's own settings are what it is about, so they go over the command line's.

    Args:
        table: the table.
        row: one of its rows.
        overrides: ``section.key=value`` for all rows, over those of the table.
    """
    last = {
        option.partition("=")[0].strip(): option
        for option in (*table.settings, *overrides, *row.settings)
    }
    return list(last.values())


def row_recipe(table: Table, row: Row, options: Sequence[str]) -> Recipe:
    """The recipe that a row means.

    Args:
        table: the table.
        row: one of its rows.
        options: `row_options`, and perhaps more.

    Raises:
        RecipeError: no such recipe, unknown keys, impossible values, a measure of a step that the
            row leaves out; with the row's name.
    """
    try:
        recipe = load_recipe(row.recipe or table.recipe, options)
    except RecipeError as error:
        raise RecipeError(
            f"row {row.name!r}: {error.what}", where=error.where, fix=error.fix
        ) from None
    for measure, key, made in (
        ("segmenter", "train_segmenter", recipe.train_segmenter.enabled),
        ("walk", "walk", recipe.walk.enabled),
        (
            "CRF",
            "evaluate.crf",
            recipe.evaluate.crf.enabled
            or (recipe.pseudo_masks.crf.enabled and not recipe.walk.enabled),
        ),
    ):
        if row.measure == measure and not made:
            raise RecipeError(
                f"row {row.name!r} has measure {measure}, but leaves that out",
                fix=f"Set {key}.enabled=true, or another measure.",
            )
    return recipe


def _readable(problem: Any) -> str:
    """One pydantic problem as one clause a person can read."""
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        kind: type[BaseModel] = Row if len(location) > 1 else Table
        known = [field.alias or name for name, field in kind.model_fields.items()]
        return f"unknown key {key!r}{nearest_hint(location[-1], known)}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{key}: {message[0].lower() + message[1:]}" if key else str(message)
