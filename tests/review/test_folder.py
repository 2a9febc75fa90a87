"""What is reviewed of a run that was given its masks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from reviewed_run import CLASSES, masks_of_step, reviewed_run

from small_runs import invoke
from tag2mask.artifacts.handles import MODEL_FILE, PreparedData, PseudoMaskFolder, SegmenterModel
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.data.corrections.folder import read_corrections
from tag2mask.data.corrections.writing import open_corrections
from tag2mask.data.masks import read_mask
from tag2mask.errors import RunFolderError
from tag2mask.review.folder import open_review
from tag2mask.review.order import gains
from tag2mask.review.service import ReviewService


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """Masks beside the run that learned from them."""
    run = reviewed_run(tmp_path, 8)
    data = PreparedData.open(run / PreparedData.step)
    masks_of_step(PseudoMaskFolder, data, tmp_path / "given", share=4)
    masks = PseudoMaskFolder.open(tmp_path / "given" / PseudoMaskFolder.step)
    out = run / SegmenterModel.step
    with step_folder(
        SegmenterModel, out, section={}, inputs={"data": data, "masks": masks}
    ) as step:
        (step.path / MODEL_FILE).write_bytes(b"network")
        step.finish()
    shutil.rmtree(run / PseudoMaskFolder.step)
    shutil.rmtree(run / "infer-cam")
    return masks.path


def test_masks_that_a_run_was_given_are_reviewed(given: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    folder = open_review(run)
    assert list(folder.masks) == ["given mask", "network"]
    assert folder.corrections == run / "corrections"
    with open_corrections(folder.corrections, CLASSES) as writer:
        service = ReviewService(folder, writer, lambda: open_review(run))
        (first, *_), photo = service.state()["photos"], service.photo(0)
        assert first["masks"] == ["given mask", "network"]
        values = {"verdict": "good", "mask": "given mask", "version": "", "generation": 0}
        service.decide(0, values | {"photo": photo.id, "tags": first["tags"]}, None)
    accepted = read_corrections(folder.corrections).masks()[photo.id]
    made = read_mask(given / "masks" / f"{photo.id}.png", 3)
    assert np.array_equal(read_mask(accepted, 3), made)
    asked = invoke("ask", run, "--count", "3")
    assert asked.exit_code == 0, asked.output


def test_the_network_and_given_masks_disagree(given: Path, tmp_path: Path) -> None:
    """Without maps, how much a photo's two masks differ says how uncertain it is."""
    folder = open_review(tmp_path / "run")
    # Of several tags the masks show one, which makes the photo uncertain, too.
    one, *rest = (photo.id for photo in folder.photos if len(photo.tags) == 1)
    for photo in rest:  # only one photo's masks disagree
        shutil.copy(
            folder.masks["network"] / f"{photo}.png", folder.masks["given mask"] / f"{photo}.png"
        )
    found = gains(open_review(tmp_path / "run"))
    assert found[one].uncertainty > max(found[photo].uncertainty for photo in rest)


def test_given_masks_that_are_replaced_or_deleted_are_noticed(given: Path, tmp_path: Path) -> None:
    folder = open_review(tmp_path / "run")
    assert not folder.is_changed()
    manifest = given / "manifest.json"
    manifest.write_text(manifest.read_text() + "\n")
    assert folder.is_changed()
    shutil.rmtree(given)
    assert list(open_review(tmp_path / "run").masks) == ["network"]
    shutil.rmtree(tmp_path / "run" / "predict")
    with pytest.raises(RunFolderError, match="where it was given masks, train-segmenter"):
        open_review(tmp_path / "run")


@pytest.mark.parametrize(
    ("metrics", "message"), [({}, "lacks 'classes'"), ({"classes": 5}, "not a")]
)
def test_a_damaged_manifest_of_predictions_is_named(
    tmp_path: Path, metrics: dict[str, object], message: str
) -> None:
    predict = reviewed_run(tmp_path, 2) / "predict"
    values = json.loads((predict / "manifest.json").read_text())
    (predict / "manifest.json").write_text(json.dumps(values | {"metrics": metrics}))
    with pytest.raises(RunFolderError, match=message):
        open_review(predict, tmp_path / "photos")
