"""Reference values are in the repository; TAG2MASK_REFERENCE names a folder with others."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from reference.inputs import inputs
from reference.make_data import DATA, SHAPES, STEPS

ENOUGH = 128 * 1024


def test_the_repository_has_every_file_and_all_are_small() -> None:
    assert {*STEPS, *SHAPES, "crf.npz"} <= {path.name for path in DATA.iterdir()}
    assert not [path.name for path in DATA.iterdir() if path.stat().st_size > ENOUGH]


def test_the_inputs_are_those_of_the_complete_values(shared: Path) -> None:
    for name in STEPS:
        with np.load(shared / "reference" / name) as complete:
            for key, drawn in inputs(name).items():
                np.testing.assert_array_equal(drawn, complete[key], err_msg=f"{name}, {key}")


def test_the_variable_names_the_folder(reference: Path) -> None:
    assert reference == Path(os.environ.get("TAG2MASK_REFERENCE", DATA))
