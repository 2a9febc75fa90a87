"""A run whose folders are split has the same results, and everything finds its files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from small_runs import invoke, write_photos, write_recipe
from tag2mask.artifacts import sub_folders
from tag2mask.artifacts.handles import Evaluation
from tag2mask.artifacts.journal import recorded_items
from tag2mask.pipeline.status import status

FOLDERS = (
    ("infer-cam/maps", ".npz"),
    ("affinity-labels/labels", ".png"),
    ("walk/maps", ".npz"),
    ("pseudo-masks/masks", ".png"),
    ("pseudo-masks/overlays", ".jpg"),
    ("predict/masks", ".png"),
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run as usual, and one whose folders have at most three entries."""
    root = tmp_path_factory.mktemp("split")
    photos = write_photos(root / "photos", 12, masks=True)
    recipe = write_recipe(
        root / "recipe.yaml",
        pseudo_masks__overlays=True,
        pseudo_masks__threshold_from="fixed",
        pseudo_masks__background_threshold=0.01,
    )
    words = ["run", "--data", photos, "--recipe", recipe]
    flat, parted = root / "flat", root / "parted"
    result = invoke(*words, "--out", flat)
    assert result.exit_code == 0, result.output
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sub_folders, "MAX_ENTRIES", 3)
        patch.setattr(sub_folders, "_WANTED_ENTRIES", 3)
        result = invoke(*words, "--out", parted)
        assert result.exit_code == 0, result.output
    return flat, parted


def test_the_files_are_the_same_in_sub_folders(runs: tuple[Path, Path]) -> None:
    flat, parted = runs
    for folder, suffix in FOLDERS:
        ids = recorded_items(flat / folder.partition("/")[0])
        assert ids and recorded_items(parted / folder.partition("/")[0]).keys() == ids.keys()
        assert (parted / folder).parent.joinpath(sub_folders.SUB_FOLDERS).is_file()
        for item in ids:
            start = hashlib.sha256(item.encode()).hexdigest()[:1]
            one, other = flat / folder / item, parted / folder / start / item
            one, other = (path.with_name(f"{path.name}{suffix}") for path in (one, other))
            assert other.read_bytes() == one.read_bytes(), other
    assert not list(flat.rglob(sub_folders.SUB_FOLDERS))


def test_scores_are_the_same_and_the_report_finds_all_pictures(runs: tuple[Path, Path]) -> None:
    flat, parted = (Evaluation.open(run / Evaluation.step) for run in runs)
    assert parted.manifest.metrics == flat.manifest.metrics
    pages = [(run / "report" / "index.html").read_text() for run in runs]
    assert pages[0].count("data:image") == pages[1].count("data:image") > 3


def test_the_same_command_keeps_all_and_redoes_what_is_lost(runs: tuple[Path, Path]) -> None:
    _, parted = runs
    words = ["run", "--data", parted.parent / "photos", "--out", parted]
    assert {found.folder.state for found in status(parted)} == {"fresh"}
    before = {path: path.stat().st_mtime_ns for path in parted.rglob("*.npz")}
    lost = next((parted / "walk" / "maps").rglob("*.npz"))
    lost.unlink()
    result = invoke(*words)  # as many photos as ever: what is split stays so
    assert result.exit_code == 0, result.output
    after = {path: path.stat().st_mtime_ns for path in parted.rglob("*.npz")}
    assert after.keys() == before.keys()
    assert {path for path in before if before[path] != after[path]} == {lost}


def test_masks_are_exported_and_given_to_other_runs(runs: tuple[Path, Path]) -> None:
    _, parted = runs
    root, source = parted.parent, parted / "pseudo-masks"
    exported = invoke("masks", "export", source, "--to", "coco", "--out", root / "x")
    assert exported.exit_code == 0, exported.output
    words = ["run", "--data", root / "photos", "--recipe", root / "recipe.yaml"]
    given = invoke(*words, "--masks", source, "--out", root / "given", "--until", "train-segmenter")
    assert given.exit_code == 0, given.output
    assert "no photo of the data" not in given.output
    words = ["run", "--from", parted, "--data", root / "photos", "--until", "pseudo-masks"]
    words += ["--set", "pseudo_masks.confidence=true"]
    branched = invoke(*words, "--out", root / "branch")
    assert branched.exit_code == 0, branched.output
    assert (root / "branch" / "walk" / sub_folders.SUB_FOLDERS).is_file()
