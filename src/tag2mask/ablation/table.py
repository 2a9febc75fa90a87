"""Ablation tables: named rows, each a recipe with a few values changed.

A table is a YAML file with a recipe, settings for all rows, and the rows. This module loads and
checks it, and builds the recipe of each row; `tag2mask.ablation.run` runs them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, model_validator

from tag2mask.errors import PartError, RecipeError, nearest_hint
from tag2mask.recipe.fields import Section
from tag2mask.recipe.loading import joined_problems, load_recipe
from tag2mask.recipe.schema import Recipe
from tag2mask.recipe.settings_files import find_settings, parse_settings, shipped_settings
from tag2mask.text.excerpt import excerpt

Measure = Literal["maps", "CRF", "walk", "masks", "segmenter"]
"""What a row is measured by; docs/how-to/ablate.md describes each."""


def _as_options(value: Any) -> Any:
    """Convert a mapping of dotted keys to a list of ``section.key=value``, as for ``--set``."""
    if not isinstance(value, Mapping):
        return value
    return [f"{key}={json.dumps(entry, separators=(',', ':'))}" for key, entry in value.items()]


Settings = Annotated[tuple[str, ...], BeforeValidator(_as_options)]


class AblationRow(Section):
    """One row: its name, and the settings of the recipe that it changes."""

    name: Annotated[str, Field(min_length=1)]
    recipe: str | None = None
    """Replaces the table's recipe."""
    settings: Settings = Field(default=(), alias="set")
    """A list of ``section.key=value``, or a mapping of dotted keys."""
    measure: Measure | None = None
    """The row's own measure; null: ``segmenter`` if the row trains one, else ``masks``."""
    over: str | None = None
    """An earlier row to compare it with; null: the first row, of networks the first network."""


class AblationTable(Section):
    """A table of rows."""

    description: str = ""
    recipe: str = "lite0-cpu"
    """The recipe of rows without one."""
    settings: Settings = Field(default=(), alias="set")
    """Settings of all rows; a row's own settings override them."""
    rows: Annotated[tuple[AblationRow, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _names(self) -> AblationTable:
        names = [row.name for row in self.rows]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"rows: names must differ, {twice[0]!r} occurs twice")
        commas = [name for name in names if "," in name or name != name.strip()]
        if commas:
            raise ValueError(
                f"rows: the name {commas[0]!r} has a comma, or spaces around it; "
                "--rows separates names by commas"
            )
        for place, row in enumerate(self.rows):
            if row.over is not None and row.over not in names[:place]:
                raise ValueError(
                    f"rows: {row.name!r} is compared with {row.over!r}, which is no earlier row"
                    f"{nearest_hint(row.over, names[:place])}"
                )
        return self

    def select_rows(self, names: Sequence[str]) -> AblationTable:
        """Return the table with only these rows, in the table's order.

        A row whose ``over`` isn't among them is compared as if it had none.

        Raises:
            RecipeError: no such row; the message suggests the nearest name.
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
    """Return the YAML text of each table of the package, by name."""
    return shipped_settings("tag2mask.ablation", "tables")


def load_table(name_or_file: str | Path) -> AblationTable:
    """Load a table of the package by name, or a YAML file.

    Raises:
        RecipeError: no such table, invalid YAML, unknown keys or invalid values; the message lists
            all problems. The recipes of the rows are checked by `row_recipe`.
    """
    text, where = find_settings(name_or_file, shipped_tables(), "table")
    values = parse_settings(text, where, "a table is a mapping with a list of rows")
    try:
        return AblationTable.model_validate(values)
    except ValidationError as error:
        raise RecipeError(
            joined_problems([_readable(problem) for problem in error.errors()]),
            where=where,
            fix="docs/how-to/ablate.md describes the format of a table.",
        ) from None


def row_options(table: AblationTable, row: AblationRow, overrides: Sequence[str] = ()) -> list[str]:
    """Return the settings of a row as ``section.key=value``, one per key.

    The row's own settings override ``overrides``, which override the table's: a row must keep what
    distinguishes it from the others.

    Args:
        table: the table.
        row: one of its rows.
        overrides: ``section.key=value`` for all rows.
    """
    last = {
        option.partition("=")[0].strip(): option
        for option in (*table.settings, *overrides, *row.settings)
    }
    return list(last.values())


def row_recipe(
    table: AblationTable, row: AblationRow, options: Sequence[str], *, allow_modules: bool = False
) -> Recipe:
    """Return the recipe of a row.

    Args:
        table: the table.
        row: one of its rows.
        options: the result of `row_options`, possibly with more.
        allow_modules: as in `load_recipe`.

    Raises:
        RecipeError: no such recipe, unknown keys, invalid values, or a measure of a step that the
            row doesn't run; the message gives the row's name.
    """
    try:
        recipe = load_recipe(
            row.recipe or table.recipe, options, effects=False, allow_modules=allow_modules
        )
    except (RecipeError, PartError) as error:
        raise type(error)(
            f"row {row.name!r}: {error.what}", where=error.where, fix=error.fix
        ) from None
    for measure, key, enabled in (
        ("segmenter", "train_segmenter", recipe.train_segmenter.enabled),
        ("walk", "walk", recipe.walk.enabled),
        (
            "CRF",
            "evaluate.crf",
            recipe.evaluate.crf.enabled
            or (recipe.pseudo_masks.crf.enabled and not recipe.walk.enabled),
        ),
    ):
        if row.measure == measure and not enabled:
            raise RecipeError(
                f"row {row.name!r} has measure {measure}, but does not run that step",
                fix=f"Set {key}.enabled=true, or another measure.",
            )
    return recipe


def _readable(problem: Any) -> str:
    """Return a validation problem of pydantic as a readable clause."""
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        kind: type[BaseModel] = AblationRow if len(location) > 1 else AblationTable
        known = [field.alias or name for name, field in kind.model_fields.items()]
        return f"unknown key {excerpt(key)}{nearest_hint(location[-1], known)}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{key}: {message[0].lower() + message[1:]}" if key else str(message)
