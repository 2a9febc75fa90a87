"""The table of steps: each has a section of the recipe, a module, a command and a handle."""

from __future__ import annotations

from importlib.util import find_spec

import typer.main

from tag2mask.artifacts.handles import MODEL_FILE, ReportPage, section_name
from tag2mask.artifacts.step_table import MODELS, REPORTED_STEPS, RUN_STEPS, STEP_NAMES, STEPS
from tag2mask.cli import app as cli
from tag2mask.recipe.schema import Recipe


def test_every_step_has_a_section_a_module_and_a_command() -> None:
    commands = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    for step in RUN_STEPS:
        section = section_name(step.name)
        assert section in Recipe.model_fields
        assert find_spec(f"tag2mask.steps.{section}") is not None
        assert step.name in commands
        for name, value in step.enabled_by:
            section, key = name.split(".")
            assert getattr(getattr(Recipe(), section), key) == value


def test_lists_follow_from_the_table() -> None:
    assert tuple(handle.step for handle in STEPS) == STEP_NAMES
    assert len(set(STEP_NAMES)) == len(STEP_NAMES)
    assert set(STEPS) - set(REPORTED_STEPS) == {ReportPage}
    assert [model.step for model in MODELS] == ["train-cam", "train-affinity", "train-segmenter"]
    assert all(step.handle.needs == (MODEL_FILE,) for step in RUN_STEPS if step.trains)
