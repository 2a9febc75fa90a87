"""Runs whose AffinityNet learns from masks that were drawn in corrections."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from small_runs import read_table, recipe, write_photos, write_table
from tag2mask.artifacts.handles import MODEL_FILE, AffinityModel, PreparedData
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.classes import ClassSet
from tag2mask.data.corrections.decisions import Decision
from tag2mask.data.corrections.writing import open_corrections
from tag2mask.data.index import Sample, read_index
from tag2mask.data.splits import SPLITS
from tag2mask.errors import DataChangedError
from tag2mask.pipeline import run as pipeline
from tag2mask.pipeline.corrections import reads_corrections, step_to_redo
from tag2mask.pipeline.dry_run import dry_run
from tag2mask.steps.prepare import prepare


def draw(folder: Path, sample: Sample) -> None:
    with open_corrections(folder, ClassSet(("cat", "dog", "bird"))) as writer:
        writer.write(Decision(sample.id, "corrected"), np.ones(sample.size, np.uint8))


def test_affinity_net_is_trained_again_where_it_learns_from_drawn_masks(tmp_path: Path) -> None:
    alone = {"train_segmenter__enabled": False}
    settings = recipe(affinity_labels__use_drawn=True, **alone)
    run, drawn, step = tmp_path / "run", tmp_path / "corrections", AffinityModel.step
    prepare(write_photos(tmp_path / "photos"), settings.prepare, run / PreparedData.step)
    train, val = (read_index(run / PreparedData.step, split)[0] for split in SPLITS)
    with step_folder(AffinityModel, run / step, section=settings.train_affinity) as folder:
        (folder.path / MODEL_FILE).write_bytes(b"network")
        folder.finish()
    with open_corrections(drawn, ClassSet(("cat", "dog", "bird"))) as writer:
        writer.write(Decision(train.id, "bad"))  # the segmentation network alone heeds it
    draw(drawn, val)
    assert step_to_redo(settings, run, drawn) is None
    draw(drawn, train)
    assert step_to_redo(settings, run, drawn, update=True) == step
    assert step_to_redo(settings, run, drawn, redo="train-cam") == "train-cam"
    assert step_to_redo(settings, run, drawn, until="affinity-labels") is None
    assert step_to_redo(settings, tmp_path / "new", drawn, source=run) == step
    assert step_to_redo(recipe(**alone), run, drawn) is None
    assert reads_corrections("affinity-labels", settings)
    assert not reads_corrections("affinity-labels", recipe(**alone))
    with pytest.raises(DataChangedError, match="train-affinity has learned from other corrections"):
        step_to_redo(settings, run, drawn)


@pytest.mark.slow
def test_updates_that_add_or_remove_a_photo_with_a_drawn_mask_keep_affinity_net(
    tmp_path: Path,
) -> None:
    photos, out, drawn = write_photos(tmp_path / "photos"), tmp_path / "run", tmp_path / "drawn"
    chosen = recipe(affinity_labels__use_drawn=True, train_segmenter__enabled=False)
    prepared = prepare(photos, chosen.prepare, tmp_path / "all").path
    sample, val = (read_index(prepared, split)[0] for split in SPLITS)
    draw(drawn, sample)
    draw(drawn, val)  # AffinityNet learns nothing from it
    rows, step = read_table(photos), AffinityModel.step
    fewer = [row for row in rows if sample.id not in row[0]]
    write_table(photos, fewer)
    done = pipeline.run(photos, chosen, out, until=step, corrections=drawn).handles
    before = done[step].manifest
    for table, count in ((rows, 1), (fewer, 0)):
        write_table(photos, table)
        for _ in range(2):  # the first one prepares the change
            plan = dry_run(photos, chosen, out, until=step, update=True, corrections=drawn)
            assert {found.step: found.action for found in plan.steps}[step] == "skip"
            done = pipeline.run(
                photos, chosen, out, until=step, update=True, corrections=drawn
            ).handles
            assert done[step].manifest == before
            assert done["affinity-labels"].manifest.counts.get("drawn", 0) == count


@pytest.mark.slow
def test_a_run_whose_affinity_net_learns_from_drawn_masks(tmp_path: Path) -> None:
    photos, out, drawn = write_photos(tmp_path / "photos"), tmp_path / "run", tmp_path / "drawn"
    chosen = recipe(affinity_labels__use_drawn=True, train_segmenter__enabled=False)
    earlier = pipeline.run(photos, chosen, out, until="walk").handles
    before = {name: handle.manifest for name, handle in earlier.items()}
    sample = read_index(out / PreparedData.step, "train")[0]
    draw(drawn, sample)
    plan = dry_run(photos, chosen, out, until="walk", update=True, corrections=drawn)
    actions = [step.action for step in plan.steps]
    assert actions == ["update", "skip", "skip", "update", "run", "run"]
    with pytest.raises(DataChangedError):
        pipeline.run(photos, chosen, out, until="walk", corrections=drawn)
    for _ in range(2):
        done = pipeline.run(
            photos, chosen, out, until="walk", update=True, corrections=drawn
        ).handles
        after = {name: handle.manifest for name, handle in done.items()}
        assert after["affinity-labels"].counts["drawn"] == 1
        assert after["train-cam"] == before["train-cam"]
        assert after["train-affinity"].fingerprint != before["train-affinity"].fingerprint
        assert after["walk"].fingerprint != before["walk"].fingerprint
        assert (
            pipeline.run(photos, chosen, out, until="walk").handles["walk"].manifest
            == after["walk"]
        )
