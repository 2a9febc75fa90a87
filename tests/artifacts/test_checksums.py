"""Model files are compared with the checksum in the manifest of their folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tag2mask.artifacts.checksums import check_model_file, model_checksums
from tag2mask.artifacts.handles import CamModel
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.errors import WeightsError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A finished step's model file."""
    with step_folder(CamModel, tmp_path / "m", section={}) as step:
        (step.path / "model.safetensors").write_bytes(b"weights")
        (step.path / "losses.csv").write_text("step\n")
        step.finish()
    return tmp_path / "m" / "model.safetensors"


def flip_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[3] ^= 0x40
    path.write_bytes(content)


def test_a_changed_bit_is_noticed(file: Path) -> None:
    assert CamModel.open(file.parent).manifest.files == model_checksums(file.parent)
    assert list(model_checksums(file.parent)) == ["model.safetensors"]
    check_model_file(file)
    flip_bit(file)
    with pytest.raises(WeightsError, match=r"damaged or replaced.*train-cam again with --redo"):
        check_model_file(file)


def test_the_file_of_a_killed_writer_is_not_recorded(tmp_path: Path) -> None:
    with step_folder(CamModel, tmp_path / "m", section={}) as step:
        (step.path / ".tmp-0123.safetensors").write_bytes(b"half")
        (step.path / "model.safetensors").write_bytes(b"weights")
        step.finish()
    assert set(CamModel.open(tmp_path / "m").manifest.files) == {"model.safetensors"}


def test_files_without_a_record_are_not_checked(file: Path, tmp_path: Path) -> None:
    elsewhere = shutil.copy(file, tmp_path / "model.safetensors")
    flip_bit(elsewhere)
    check_model_file(elsewhere)
    (tmp_path / "manifest.json").write_text('{"name": "a web application"}')
    check_model_file(elsewhere)
    check_model_file(Path(shutil.copy(file, file.with_name("copy.safetensors"))))
