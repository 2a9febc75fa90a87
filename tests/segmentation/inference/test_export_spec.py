"""The specification in an exported file: round trip, other versions and damage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onnx_file import SPEC
from tag2mask.errors import WeightsError
from tag2mask.segmentation.inference.export_spec import FORMAT, ExportedSpec

FILE = Path("model.onnx")


def test_round_trip() -> None:
    assert ExportedSpec.from_json(SPEC.to_json(), where=FILE) == SPEC


def changed(**values: object) -> str:
    return json.dumps(json.loads(SPEC.to_json()) | values)


def test_other_version() -> None:
    with pytest.raises(WeightsError) as error:
        ExportedSpec.from_json(changed(format=FORMAT + 1, tag2mask="9.1"), where=FILE)
    assert f"of format {FORMAT + 1}; this version of tag2mask reads {FORMAT}" in str(error.value)
    assert "Use tag2mask 9.1 that wrote it" in str(error.value)


def test_older_version() -> None:
    with pytest.raises(WeightsError, match=r"of format 1; .*\. Export the network again\.$"):
        ExportedSpec.from_json(changed(format=1), where=FILE)


def test_a_record_without_decisions() -> None:
    values = {key: value for key, value in json.loads(SPEC.to_json()).items() if key != "decisions"}
    assert ExportedSpec.from_json(json.dumps(values), where=FILE) == SPEC


def test_keys_may_be_added() -> None:
    """Readers of format 2 ignore keys that they don't know."""
    assert ExportedSpec.from_json(changed(later={"a": 1}), where=FILE) == SPEC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON",
        "[]",
        "{}",
        "null",
        changed(classes=None),
        changed(mean=[0.5, 0.5]),
        changed(size_multiple="many"),
        changed(size_multiple=0),
        changed(long_side=0),
        changed(std=[0.5, 0.0, 0.5]),
        changed(colors=[]),
        changed(format="1"),
        changed(precision="bf16"),
        changed(predict=None),
        changed(predict={"long_side": 64}),
        json.dumps({"format": FORMAT}),
    ],
)
def test_damaged_specification(text: str) -> None:
    with pytest.raises(WeightsError, match=r"can't be read \[model\.onnx\]"):
        ExportedSpec.from_json(text, where=FILE)
