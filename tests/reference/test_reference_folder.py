"""Reference values come from one folder, which TAG2MASK_REFERENCE names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]


def test_tests_contain_no_reference_values() -> None:
    assert not [path for suffix in ("npz", "npy", "json") for path in TESTS.rglob(f"*.{suffix}")]


@pytest.mark.skipif("TAG2MASK_REFERENCE" not in os.environ, reason="TAG2MASK_REFERENCE is not set")
def test_the_variable_names_the_folder(reference: Path) -> None:
    assert reference == Path(os.environ["TAG2MASK_REFERENCE"])
