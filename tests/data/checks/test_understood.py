"""The lines that say what was understood."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tag2mask.data.checks.data_folder import check_data
from tag2mask.data.checks.understood import understood, understood_photos
from tag2mask.data.inventory import Inventory, InventoryEntry, SourceOptions
from tag2mask.data.photo_files import PhotoFile

OPTIONS = SourceOptions()


def entry(photo: str, tags: tuple[str, ...], split: str = "train") -> InventoryEntry:
    return InventoryEntry(photo, split, tags, f"{photo}.png", "1-1")  # type: ignore[arg-type]


def lines_of(inventory: Inventory, values: list[tuple[int, ...] | None]) -> dict[str, str]:
    lines = understood(inventory, OPTIONS, values)
    return dict(line.split(": ", 1) for line in lines)


def test_five_lines_name_layout_photos_classes_masks_and_what_was_skipped(
    tmp_path: Path,
) -> None:
    (tmp_path / "masks").mkdir()
    for name in "abcde":
        Image.new("RGB", (8, 6)).save(tmp_path / f"{name}.png")
    for name, values in (("a", (0, 2, 255)), ("b", (0, 1)), ("c", (0, 255))):
        mask = np.resize(np.array(values, np.uint8), (6, 8))
        Image.fromarray(mask).save(tmp_path / "masks" / f"{name}.png")
    (tmp_path / "tags.csv").write_text(
        "image,tags,split,remark\na.png,dog,train,x\nb.png,cat,train,x\nc.png,dog,train,x\n"
        "d.png,,train,x\ne.png,dog,test,x\n"
    )
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    assert check_data(tmp_path).understood == (
        f"layout: csv, {tmp_path} (tags from tags.csv, class names from classes.txt)",
        "photos: 4 train; 1 without tags",
        "classes: 2, by training photos: cat 1, dog 2",
        "masks: 3 of 4 photos have one; showing background, cat, dog; 255 (not labeled) in 2; "
        "no class in 1",
        "notes: splits not used: test; columns not read: 'remark'",
    )


def test_splits_by_their_usual_names_are_used() -> None:
    inventory = Inventory("csv", Path("/d"), (), (), found_splits=("Test", "Train", "Val", "x"))
    assert lines_of(inventory, [])["notes"] == "splits not used: Test, x"
    requested = SourceOptions(train_split="Train", val_split=None)
    assert understood(inventory, requested)[4] == "notes: splits not used: Test, Val, x"


def test_lines_stay_short_whatever_the_number_of_classes() -> None:
    names = tuple(f"c{number:03}" for number in range(200))
    entries = [entry(name, (name,)) for name in names]
    entries += [entry("v", ("c001", "c002"), "val"), entry("w", ())]
    inventory = Inventory("folders", Path("/data"), names, tuple(entries))
    found = lines_of(inventory, [(number, 0) for number in range(1, 201)])
    assert found["photos"] == "201 train, 1 val; 1 without tags"
    assert found["classes"].startswith("200, by training photos: c000 1, c001 1, c002 1")
    assert found["classes"].endswith(" and 192 more")
    assert found["masks"].startswith("200 of 202 photos have one; showing background, c000, c001")
    assert found["masks"].endswith(" and 193 more")
    assert found["layout"] == "folders, /data"
    assert found["notes"] == "nothing was guessed or skipped"
    assert all(len(line) < 160 for line in found.values())


def test_missing_photos_classes_and_masks() -> None:
    found = lines_of(Inventory("csv", Path("/data"), (), ()), [])
    assert found["photos"] == "none; 0 without tags" and found["classes"] == "none"
    assert found["masks"] == "none, which only scores need"
    table = Inventory("csv", Path("/data"), ("cat",), (entry("images/a", ("cat",)),))
    assert understood(table, OPTIONS)[3].endswith(
        "; that of images/a.png would be masks/images/a.png"
    )
    outlines = Inventory("coco", Path("/data"), ("cat",), (entry("a", ("cat",)),))
    assert understood(outlines, OPTIONS)[3] == "masks: none, which only scores need"
    listed = Inventory(
        "csv", Path("/data"), ("cat",), (entry("a", ("cat",))._replace(mask_stamp="1"),)
    )
    assert understood(listed, OPTIONS)[3] == "masks: 1 of 1 photos have one; not opened yet"
    assert lines_of(outlines, [None])["masks"].endswith("have one, to be drawn from outlines")


def test_photos_to_predict() -> None:
    photos = [
        PhotoFile("a", Path("/p/a.jpg"), "1-1-0"),
        PhotoFile("b", Path("/p/b.jpg"), "1-1-0", problem="a folder has the name of its mask"),
    ]
    names = [f"c{number}" for number in range(30)]
    lines = understood_photos(photos, ["/p/x.txt"], Path("/run"), names, Path("out/masks"))
    assert len(lines) == 5
    assert lines[0] == "photos: 2; 1 with unusable names"
    assert lines[1] == "skipped: /p/x.txt"
    assert lines[3].startswith("classes: 30: c0, c1,") and lines[3].endswith("and 22 more")
    assert lines[4] == "masks: out/masks, named after the photos; 0 is background, 1 to 30 classes"
    nothing = understood_photos(photos[:1], [], Path("/run"), names, Path("out/masks"))
    assert nothing[:2] == ("photos: 1", "skipped: nothing")
