"""Exports: every format is written from every source, whole or not at all."""

import errno
import inspect
from pathlib import Path

import numpy as np
import pytest
from mask_folders import random_masks, write_images, write_step
from PIL import Image

from small_runs import NAMES
from tag2mask.classes import ClassSet
from tag2mask.errors import DataError, RunFolderError
from tag2mask.files.replacement import replaced_folder
from tag2mask.formats.annotations import ExportResult
from tag2mask.steps.mask_exchange.export import export_masks
from tag2mask.steps.mask_exchange.sources import open_masks
from tag2mask.steps.mask_exchange.targets import TARGETS, Target, given_options

COCO = TARGETS["coco"]


@pytest.fixture
def masks(data):
    return random_masks(data)


@pytest.fixture
def source(tmp_path, data, masks):
    return open_masks(write_step(tmp_path / "predict", masks, data).path)


def names(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir())


@pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))
def test_every_format_is_written_with_its_photos(source, masks, tmp_path, target):
    out = tmp_path / "out"
    done = export_masks(source, target, out)
    assert done.result.photos == 12 and done.photo_files == {"linked": 12, "copied": 0}
    ignored = sum(int((mask == 255).sum()) for mask in masks.values())
    assert done.result.left_out_pixels in (0, ignored)
    for mask in source.masks:
        photo = out / target.photos.format(split=mask.split) / f"{mask.id}.png"
        assert photo.is_symlink() and photo.samefile(mask.photo)
    others = [path for path in out.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(others) > 1
    assert [path for path in others if b".tmp-" in path.read_bytes()] == []


@pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))
def test_options_are_arguments_of_the_writer(target):
    known = list(inspect.signature(target.write).parameters)
    assert known[:3] == ["photos", "classes", "out"]
    place = ["place"] if target.names_place else []
    assert sorted([*target.options.values(), *place]) == sorted(known[3:])


def test_an_option_of_another_format_is_an_error():
    assert given_options(COCO, {"polygons": True, "stuff": False}) == {"polygons": True}
    with pytest.raises(DataError, match=r"the format cvat has no option --polygons. Leave it out"):
        given_options(TARGETS["cvat"], {"polygons": True})
    with pytest.raises(DataError, match=r"no option --photo-prefix.*has --polygons, --stuff"):
        given_options(COCO, {"photo-prefix": "/data"})


def test_photos_are_copied_or_left_out(source, tmp_path):
    done = export_masks(source, COCO, tmp_path / "copied", photo_files="copy")
    assert done.photo_files == {"linked": 0, "copied": 12}
    copy = tmp_path / "copied/images/a/00.png"
    assert not copy.is_symlink() and Image.open(copy).size == (64, 48)
    done = export_masks(source, COCO, tmp_path / "alone", photo_files="none")
    assert done.photo_files == {"linked": 0, "copied": 0}
    assert names(tmp_path / "alone") == [
        ".tag2mask-export.json",
        "annotations/instances_train.json",
        "annotations/instances_val.json",
    ]


def test_missing_photos_are_listed_before_anything_is_written(source, tmp_path):
    (tmp_path / "photos/a/00.png").unlink()
    with pytest.raises(DataError, match=r"1 of 12 photos are missing.*\n  - .*a/00.png"):
        export_masks(source, COCO, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert export_masks(source, COCO, tmp_path / "out", photo_files="none").result.photos == 12


def test_masks_of_unknown_photos_need_their_folder(tmp_path, masks):
    folder = write_images(tmp_path / "drawn", masks)
    (folder / "classes.txt").write_text("\n".join(NAMES))
    with pytest.raises(DataError, match=r"the photos of 12 of 12 masks aren't known.*--photos DIR"):
        export_masks(open_masks(folder), COCO, tmp_path / "out")
    source = open_masks(folder, photos=tmp_path / "photos")
    assert export_masks(source, COCO, tmp_path / "out").result.photos == 12
    assert names(tmp_path / "out/annotations") == ["instances_train.json"]


def test_a_failed_export_leaves_nothing(source, tmp_path):
    before = names(tmp_path)
    (tmp_path / "predict/masks/b/11.png").write_bytes(b"no image")
    with pytest.raises(DataError):
        export_masks(source, COCO, tmp_path / "out")
    assert names(tmp_path) == before and not (tmp_path / "out").exists()


def test_only_an_earlier_export_is_replaced(source, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    export_masks(source, COCO, out)  # into an empty folder
    with pytest.raises(RunFolderError, match=r"holds an earlier export.*--overwrite"):
        export_masks(source, COCO, out)
    export_masks(source, TARGETS["cvat"], out, overwrite=True)
    assert (out / "annotations.xml").is_file() and not (out / "annotations").exists()
    (out / ".tag2mask-export.json").unlink()
    with pytest.raises(RunFolderError, match="exists and is no earlier export"):
        export_masks(source, COCO, out, overwrite=True)
    assert (out / "annotations.xml").is_file()


def test_an_export_that_another_process_finishes_meanwhile_is_kept(source, tmp_path, monkeypatch):
    out = tmp_path / "out"

    def late(folder):
        monkeypatch.undo()
        export_masks(source, COCO, out)
        return replaced_folder(folder)

    monkeypatch.setattr("tag2mask.steps.mask_exchange.export.replaced_folder", late)
    with pytest.raises(RunFolderError, match="holds an earlier export"):
        export_masks(source, TARGETS["cvat"], out)
    assert (out / "annotations").is_dir() and not (out / "annotations.xml").exists()


def test_a_failed_replacement_keeps_the_earlier_export(source, tmp_path, monkeypatch):
    out = tmp_path / "out"
    export_masks(source, COCO, out)
    before = names(tmp_path)

    def fail(photos, classes: ClassSet, out) -> ExportResult:
        next(iter(photos))
        raise KeyboardInterrupt

    monkeypatch.setattr(Target, "write", property(lambda _: fail))
    with pytest.raises(KeyboardInterrupt):
        export_masks(source, COCO, out, overwrite=True)
    assert names(tmp_path) == before


@pytest.mark.parametrize("failing", [{1}, {2}, {2, 3}])
def test_an_export_that_cannot_take_its_place_loses_nothing(source, tmp_path, monkeypatch, failing):
    """Renamed are the earlier export, the new one, and where that fails the earlier one again."""
    out = tmp_path / "out"
    export_masks(source, COCO, out)
    before = names(out)
    rename, calls = Path.rename, []

    def broken(path, target):
        calls.append(path)
        if len(calls) in failing:
            raise OSError(errno.EIO, "broken", str(path))
        return rename(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", broken)
        with pytest.raises(RunFolderError, match="the disk reports an error"):
            export_masks(source, TARGETS["cvat"], out, overwrite=True)
    assert names(tmp_path / ".tmp-out-old" if 3 in failing else out) == before
    assert not (tmp_path / ".tmp-out-new").exists()
    with pytest.raises(RunFolderError, match=r"holds an earlier export.*--overwrite"):
        export_masks(source, TARGETS["cvat"], out)
    assert names(out) == before
    export_masks(source, TARGETS["cvat"], out, overwrite=True)
    assert (out / "annotations.xml").is_file() and not list(tmp_path.glob(".tmp-*"))


def test_an_export_is_kept_out_of_the_data_and_the_masks(source, tmp_path):
    for out, what in (("photos/out", "data"), ("predict/out", "masks"), (".", "masks")):
        with pytest.raises(RunFolderError, match=f"inside or around the folder of the {what}"):
            export_masks(source, COCO, tmp_path / out)


def test_sizes_and_scores_reach_the_writer(source, tmp_path, masks, monkeypatch):
    seen = []

    def look(photos, classes: ClassSet, out) -> ExportResult:
        for photo in photos:
            seen.append((photo.id, photo.file_name, photo.split, photo.size))
            np.testing.assert_array_equal(photo.mask(), masks[photo.id])
        return ExportResult(len(seen))

    monkeypatch.setattr(Target, "write", property(lambda _: look))
    export_masks(source, COCO, tmp_path / "out")
    assert seen == [(m.id, f"{m.id}.png", m.split, masks[m.id].shape[::-1]) for m in source.masks]
