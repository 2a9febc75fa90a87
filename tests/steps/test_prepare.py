import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tag2mask.data.prepare.measure as measure_module
import tag2mask.steps.prepare as prepare_module
from tag2mask.artifacts import sub_folders
from tag2mask.artifacts.handles import PreparedData
from tag2mask.data.index import masks_fingerprint, read_classes, read_index, read_mask_paths
from tag2mask.data.masks import read_mask
from tag2mask.errors import DataError, ProblemsError, RunFolderError
from tag2mask.recipe.sections import Prepare
from tag2mask.steps.prepare import prepare


def _photo(path: Path, size=(8, 6), seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).save(path)
    return path


def _mask(path: Path, value: int = 1, size=(8, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size[::-1], value, np.uint8)).save(path)


ROWS = {"a": "dog,train", "b": "cat dog,train", "c": ",train", "d": "cat,val"}


@pytest.fixture
def data(tmp_path) -> Path:
    """Photos a..d: three for training, one for validation."""
    root = tmp_path / "data"
    for name in ROWS:
        _photo(root / f"images/{name}.jpg")
    _write_table(root, ROWS)
    return root


def _write_table(root: Path, rows: dict[str, str]) -> None:
    lines = [f"{id},{rest}\n" for id, rest in rows.items()]
    (root / "tags.csv").write_text("id,tags,split\n" + "".join(lines))


def _files(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != ".lock"
    }


@pytest.fixture
def sizes_read(monkeypatch) -> list[str]:
    """Names of the photos whose headers prepare reads."""
    read: list[str] = []
    real = measure_module.image_size

    def counted(path: Path) -> tuple[int, int]:
        read.append(path.name)
        return real(path)

    monkeypatch.setattr(measure_module, "image_size", counted)
    return read


def test_the_index_of_a_small_folder(data, tmp_path):
    done = prepare(data, Prepare(), tmp_path / "out")
    assert PreparedData.open(tmp_path / "out") == done
    assert read_classes(done.path).names == ("cat", "dog")
    train = read_index(done.path, "train")
    assert [(s.id, s.tags, s.size) for s in train] == [
        ("a", (1,), (6, 8)),
        ("b", (0, 1), (6, 8)),
        ("c", (), (6, 8)),
    ]
    status = (data / "images/a.jpg").stat()
    assert train[0].stamp == f"{status.st_size}-{status.st_mtime_ns}"
    assert train[0].image == (data / "images/a.jpg").resolve()
    assert [s.id for s in read_index(done.path, "val")] == ["d"]
    assert read_mask_paths(done.path) == {} and not (done.path / "masks.jsonl").exists()
    assert done.manifest.counts == {
        "train": 3,
        "val": 1,
        "classes": 2,
        "masks": 0,
        "skipped": 0,
        "untagged": 1,
    }
    metrics = done.manifest.metrics
    assert metrics["layout"] == "csv" and metrics["warnings"] == []
    assert metrics["understood"][1:4] == [
        "photos: 3 train, 1 val; 1 without tags",
        "classes: 2, by training photos: cat 1, dog 2",
        "masks: none, which only scores need; that of images/a.jpg would be masks/a.png",
    ]


def test_sizes_are_upright(data, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 6)).save(data / "images/a.jpg", exif=exif)
    done = prepare(data, Prepare(), tmp_path / "out")
    assert read_index(done.path, "train")[0].size == (8, 6)


def test_a_second_run_changes_nothing_and_reads_no_photo(data, tmp_path, sizes_read):
    first = prepare(data, Prepare(), tmp_path / "out")
    before = _files(tmp_path / "out")
    assert sorted(sizes_read) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    sizes_read.clear()
    assert prepare(data, Prepare(), tmp_path / "out") == first
    assert _files(tmp_path / "out") == before and sizes_read == []


def test_groups_are_in_the_index_and_may_change(data, tmp_path):
    def write(group: str) -> None:
        rows = [f"{id},{rest},{group}\n" for id, rest in ROWS.items()]
        (data / "tags.csv").write_text("id,tags,split,group\n" + "".join(rows))

    write("")
    first = prepare(data, Prepare(), tmp_path / "out")
    write("p1")
    second = prepare(data, Prepare(), tmp_path / "out")
    assert [s.group for s in read_index(second.path, "train")] == ["p1"] * 3
    assert second.fingerprint == first.fingerprint


def test_changed_data_is_refused_in_numbers(data, tmp_path):
    done = prepare(data, Prepare(), tmp_path / "out")
    before = _files(done.path)
    _photo(data / "images/e.jpg")
    _photo(data / "images/b.jpg", seed=1)
    os.utime(data / "images/b.jpg", ns=(1, 1))
    (data / "images/c.jpg").unlink()
    _write_table(
        data, {"a": "dog cat,train", "b": "cat dog,train", "e": "dog,val", "d": "cat,train"}
    )
    with pytest.raises(RunFolderError) as caught:
        prepare(data, Prepare(), done.path)
    for part in (
        "1 photo added",
        "1 photo removed",
        "1 photo replaced",
        "1 photo with other tags",
        "1 photo in another split",
        "--update",
    ):
        assert part in str(caught.value), part
    assert _files(done.path) == before


def test_copies_without_their_times_are_told_from_other_photos(data, tmp_path):
    done = prepare(data, Prepare(), tmp_path / "out")
    os.utime(data / "images/a.jpg", ns=(1, 1))
    _photo(data / "images/b.jpg", (5, 40))
    with pytest.raises(RunFolderError) as caught:
        prepare(data, Prepare(), done.path)
    changes = "1 photo replaced, 1 photo with another modification time and the same size"
    assert changes in str(caught.value)
    assert "`cp -p`" in str(caught.value)


def test_update_takes_changes_in_and_reads_only_those(data, tmp_path, sizes_read):
    done = prepare(data, Prepare(), tmp_path / "out")
    identity, fingerprint = done.manifest.identity, done.fingerprint
    _photo(data / "images/e.jpg", (5, 4))
    _write_table(data, ROWS | {"a": "dog cat,train", "e": "dog,train"})
    sizes_read.clear()
    done = prepare(data, Prepare(), tmp_path / "out", update=True)
    assert sizes_read == ["e.jpg"]
    assert [(s.id, s.tags) for s in read_index(done.path, "train")] == [
        ("a", (0, 1)),
        ("b", (0, 1)),
        ("c", ()),
        ("e", (1,)),
    ]
    # What decides the maps of untouched photos stays; only which photos there are changes.
    assert done.manifest.identity == identity and done.fingerprint != fingerprint


def test_other_classes_are_named_and_can_be_taken_in(data, tmp_path):
    done = prepare(data, Prepare(), tmp_path / "out")
    _write_table(data, ROWS | {"a": "bird,train", "b": "cat,train"})
    with pytest.raises(RunFolderError, match=r"new bird; gone dog.*2 photos with other tags"):
        prepare(data, Prepare(), tmp_path / "out")
    done = prepare(data, Prepare(), tmp_path / "out", update=True)
    assert read_classes(done.path).names == ("bird", "cat")
    assert [s.tags for s in read_index(done.path, "train")] == [(0,), (1,), ()]


def test_other_settings_are_refused_by_name(data, tmp_path):
    prepare(data, Prepare(), tmp_path / "out")
    for update in (False, True):
        with pytest.raises(RunFolderError, match=r"prepare\.val_split: \"val\" -> null"):
            prepare(data, Prepare(val_split=None), tmp_path / "out", update=update)


def test_a_moved_data_folder_costs_nothing(data, tmp_path):
    done = prepare(data, Prepare(), tmp_path / "out")
    fingerprint = done.fingerprint
    shutil.move(data, tmp_path / "moved")
    done = prepare(tmp_path / "moved", Prepare(), tmp_path / "out")
    assert done.fingerprint == fingerprint
    assert all(s.image.is_file() for s in read_index(done.path, "train"))


def test_masks_added_later_leave_the_fingerprint_alone(data, tmp_path):
    done = prepare(data, Prepare(), tmp_path / "out")
    fingerprint, index = done.fingerprint, (done.path / "train.jsonl").read_bytes()
    without = masks_fingerprint(done.path)
    _mask(data / "masks/a.png")
    done = prepare(data, Prepare(), tmp_path / "out")
    assert read_mask_paths(done.path) == {"a": (data / "masks/a.png").resolve()}
    assert done.fingerprint == fingerprint and masks_fingerprint(done.path) != without
    assert done.manifest.counts["masks"] == 1
    assert (done.path / "train.jsonl").read_bytes() == index
    with_mask = prepare(data, Prepare(), tmp_path / "fresh")
    assert with_mask.fingerprint == fingerprint


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "images/a.jpg").write_text("no photo"), "'a'.*not a photo"),
        (lambda d: (d / "images/a.jpg").unlink(), "'a' does not exist"),
        (lambda d: _write_table(d, ROWS | {"a": "dgo,train"}), "1 problem"),
        (lambda d: _write_table(d, ROWS | {"../a": "dog,train"}), "leads out"),
        (lambda d: _mask(d / "masks/a.png", 9), "mask has the values 9"),
        (lambda d: _mask(d / "masks/a.png", size=(4, 4)), "different size"),
        (lambda d: _photo(d / "masks/a.png"), "color-coded"),
    ],
)
def test_errors_stop_before_anything_is_written(data, tmp_path, damage, message):
    (data / "classes.txt").write_text("cat\ndog\n")
    damage(data)
    with pytest.raises(ProblemsError, match="(?s)" + message):
        prepare(data, Prepare(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_all_errors_come_at_once(data, tmp_path):
    (data / "images/a.jpg").write_text("no photo")
    (data / "images/b.jpg").unlink()
    _mask(data / "masks/d.png", 99)
    with pytest.raises(ProblemsError) as caught:
        prepare(data, Prepare(), tmp_path / "out")
    assert len(caught.value.problems) == 3


def test_skip_bad_leaves_photos_out_and_lists_them(data, tmp_path):
    (data / "images/a.jpg").write_text("no photo")
    (data / "images/c.jpg").unlink()
    with pytest.raises(ProblemsError, match="--skip-bad"):
        prepare(data, Prepare(), tmp_path / "out")
    done = prepare(data, Prepare(skip_bad=True), tmp_path / "out")
    assert [s.id for s in read_index(done.path, "train")] == ["b"]
    assert [line.split(":")[0] for line in done.manifest.skipped] == ["c", "a"]
    assert done.manifest.counts["skipped"] == 2
    assert done.manifest.metrics["understood"][1].startswith("photos: 1 train")
    warnings = done.manifest.metrics["warnings"]  # of the photos that are left
    assert any("on the only training photo" in warning for warning in warnings)
    _photo(data / "images/a.jpg")
    with pytest.raises(RunFolderError, match="1 photo added"):
        prepare(data, Prepare(skip_bad=True), tmp_path / "out")


def test_skip_bad_does_not_forgive_tags_or_masks(data, tmp_path):
    (data / "classes.txt").write_text("cat\n")
    with pytest.raises(ProblemsError, match="unknown tag 'dog'"):
        prepare(data, Prepare(skip_bad=True), tmp_path / "out")


def test_nothing_left_to_learn_from(data, tmp_path):
    for name in "ab":
        (data / f"images/{name}.jpg").unlink()
    with pytest.raises(DataError, match="no readable training photo has a tag"):
        prepare(data, Prepare(skip_bad=True), tmp_path / "out")


def test_warnings_are_kept_and_do_not_stop(data, tmp_path):
    _photo(data / "images/spare.jpg")
    done = prepare(data, Prepare(), tmp_path / "out")
    [warning] = done.manifest.metrics["warnings"]
    assert "spare.jpg" in warning


def test_a_killed_prepare_is_finished_by_the_next(data, tmp_path, monkeypatch):
    whole = prepare(data, Prepare(), tmp_path / "whole")

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(prepare_module, "write_mask_rows", killed)
        prepare(data, Prepare(), tmp_path / "out")
    with pytest.raises(RunFolderError, match="unfinished"):
        PreparedData.open(tmp_path / "out")
    done = prepare(data, Prepare(), tmp_path / "out")
    assert done.fingerprint == whole.fingerprint
    for name in ("classes.json", "train.jsonl", "val.jsonl"):
        assert (done.path / name).read_bytes() == (whole.path / name).read_bytes()


@pytest.mark.parametrize("damage", ["", "{", "[1]\n"])
def test_a_foreign_or_damaged_folder(data, tmp_path, damage):
    done = prepare(data, Prepare(), tmp_path / "out")
    (done.path / "manifest.json").unlink()
    (done.path / "train.jsonl").write_text(damage)
    with pytest.raises(RunFolderError, match="other files"):
        prepare(data, Prepare(), tmp_path / "out")


def _coco(root: Path, side: int = 4, names: str = "abc") -> Path:
    for name in names:
        if not (root / f"images/{name}.jpg").exists():
            _photo(root / f"images/{name}.jpg")
    (root / "annotations").mkdir(exist_ok=True)
    polygon = [[0, 0, side, 0, side, side, 0, side]]
    (root / "annotations/instances_train.json").write_text(
        json.dumps(
            {
                "images": [
                    {"id": i, "file_name": f"{name}.jpg", "height": 6, "width": 8}
                    for i, name in enumerate(names)
                ],
                "categories": [{"id": 5, "name": "dog"}],
                "annotations": [
                    {
                        "id": 1,
                        "image_id": 0,
                        "category_id": 5,
                        "segmentation": polygon,
                        "iscrowd": 0,
                    }
                ],
            }
        )
    )
    return root


def test_outlines_are_drawn_once(tmp_path, monkeypatch):
    data = _coco(tmp_path / "data")
    done = prepare(data, Prepare(), tmp_path / "out")
    masks = read_mask_paths(done.path)
    assert set(masks) == {"a", "b", "c"} and done.manifest.counts["masks"] == 3
    mask = read_mask(masks["a"], 1)
    assert mask.shape == (6, 8) and (mask[:4, :4] == 1).all() and mask.sum() == 16
    assert Image.open(masks["a"]).mode == "P"

    drawn: list[Path] = []
    real = prepare_module.write_mask
    monkeypatch.setattr(
        prepare_module, "write_mask", lambda path, *rest: (drawn.append(path), real(path, *rest))
    )
    prepare(data, Prepare(), tmp_path / "out")
    assert drawn == []
    _coco(data, side=3)
    prepare(data, Prepare(), tmp_path / "out")
    assert [path.stem for path in drawn] == ["a"]
    assert read_mask(masks["a"], 1).sum() == 9
    _coco(data, side=3, names="ab")
    done = prepare(data, Prepare(), tmp_path / "out", update=True)
    assert set(read_mask_paths(done.path)) == {"a", "b"} and not masks["c"].exists()


def test_very_many_outlines_are_drawn_into_sub_folders(tmp_path, monkeypatch):
    data = _coco(tmp_path / "data")
    flat = read_mask_paths(prepare(data, Prepare(), tmp_path / "out").path)
    monkeypatch.setattr(sub_folders, "MAX_ENTRIES", 2)
    done = prepare(data, Prepare(), tmp_path / "out")
    parted = read_mask_paths(done.path)
    assert all(path.is_file() for path in parted.values())
    assert {path.parent.parent.name for path in parted.values()} == {"coco-masks"}
    assert not any(path.exists() for path in flat.values())
    _coco(data, names="ab")
    done = prepare(data, Prepare(), tmp_path / "out", update=True)
    assert all(path.is_file() for path in read_mask_paths(done.path).values())
    assert not parted["c"].exists()


def test_drawing_goes_on_where_it_was_killed(tmp_path, monkeypatch):
    data = _coco(tmp_path / "data")
    real = prepare_module.write_mask

    def killed(path: Path, *rest: object) -> None:
        if path.stem == "c":
            raise KeyboardInterrupt
        real(path, *rest)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(prepare_module, "write_mask", killed)
        prepare(data, Prepare(), tmp_path / "out")
    done = prepare(data, Prepare(), tmp_path / "out")
    assert all(path.is_file() for path in read_mask_paths(done.path).values())


def test_outlines_of_another_size_cost_the_mask(tmp_path):
    data = _coco(tmp_path / "data")
    _photo(data / "images/b.jpg", (9, 9))
    done = prepare(data, Prepare(), tmp_path / "out")
    assert set(read_mask_paths(done.path)) == {"a", "c"} and done.manifest.counts["train"] == 3
    [warning] = [w for w in done.manifest.metrics["warnings"] if "outlines" in w]
    assert "'b' has a different size: 8x6 in instances_train.json, 9x9 px" in warning


def test_three_thousand_photos(tmp_path):
    import time
    import tracemalloc

    data = tmp_path / "data"
    photo = _photo(data / "images/0.jpg").read_bytes()
    for i in range(1, 3000):
        (data / f"images/{i}.jpg").write_bytes(photo)
    _write_table(
        data, {str(i): f"c{i % 5} c{i % 3},{'val' if i % 9 == 0 else 'train'}" for i in range(3000)}
    )
    began = time.process_time()
    done = prepare(data, Prepare(), tmp_path / "out")
    assert time.process_time() - began < 10  # of the processor; about 0.5 s
    assert done.manifest.counts["train"] + done.manifest.counts["val"] == 3000
    tracemalloc.start()
    prepare(data, Prepare(), tmp_path / "out")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3000 * 6_000  # bytes a photo: names and numbers, never pixels


def test_shared_voc_folder(shared, tmp_path):
    done = prepare(shared / "voc12", Prepare(), tmp_path / "out")
    assert done.manifest.counts == {
        "train": 849,
        "val": 300,
        "classes": 20,
        "masks": 1149,
        "skipped": 0,
        "untagged": 0,
    }
    assert "Segmentation" not in (done.path / "train.jsonl").read_text()


def _write_parts(data: Path, parts: range, tags: str = "") -> None:
    lines = []
    for part in range(parts.stop):
        for side in "AB":
            name = f"{part}_{side}"
            if part in parts:
                _photo(data / f"images/{name}.jpg", seed=part)
            lines.append(f"{name},{tags or ('dog', 'cat', '')[part % 3]},{part}\n")
    data.mkdir(exist_ok=True)
    (data / "tags.csv").write_text("id,tags,group\n" + "".join(lines))


def _validation(folder: Path) -> set[str]:
    return {sample.id for sample in read_index(folder, "val")}


def test_validation_photos_are_drawn_once(tmp_path):
    data = tmp_path / "parts"
    _write_parts(data, range(12))
    first = prepare(data, Prepare(), tmp_path / "out")
    drawn = _validation(first.path)
    groups = {id.partition("_")[0] for id in drawn}
    assert len(groups) == 3 and drawn == {f"{g}_{side}" for g in groups for side in "AB"}
    assert "6 validation photos were drawn" in first.manifest.metrics["understood"][4]
    assert prepare(data, Prepare(), first.path) == first
    _write_parts(data, range(12, 24))
    second = prepare(data, Prepare(), first.path, update=True)
    assert {id for id in _validation(second.path) if int(id.partition("_")[0]) < 12} == drawn
    assert len(_validation(second.path)) == 12
    shutil.copytree(first.path, tmp_path / "copied" / "prepare")
    third = prepare(data, Prepare(), tmp_path / "copied" / "prepare")
    assert _validation(third.path) == _validation(second.path)


def test_an_interrupted_update_draws_no_earlier_photo_again(tmp_path, monkeypatch):
    data = tmp_path / "parts"
    _write_parts(data, range(20))
    first = prepare(data, Prepare(), tmp_path / "out")
    drawn = _validation(first.path)
    _write_parts(data, range(20, 50))
    alone = prepare(data, Prepare(), tmp_path / "alone")
    assert {id for id in _validation(alone.path) if int(id.partition("_")[0]) < 20} != drawn

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(prepare_module, "_write_masks", interrupted)
        prepare(data, Prepare(), first.path, update=True)
    again = prepare(data, Prepare(), first.path)
    assert {id for id in _validation(again.path) if int(id.partition("_")[0]) < 20} == drawn


def test_another_share_of_validation_photos_needs_another_folder(tmp_path):
    data = tmp_path / "parts"
    _write_parts(data, range(12))
    first = prepare(data, Prepare(), tmp_path / "out")
    with pytest.raises(RunFolderError, match=r"val_fraction was 0\.2 and is 0\.5.*--redo prepare"):
        prepare(data, Prepare(val_fraction=0.5), first.path)
    assert len(_validation(prepare(data, Prepare(val_fraction=0.5), tmp_path / "b").path)) == 12
    none = prepare(data, Prepare(val_fraction=0), tmp_path / "c")
    assert _validation(none.path) == set()
    assert "val_fraction is 0" in none.manifest.metrics["warnings"][0]


def test_a_share_of_validation_photos_beside_a_written_split(data, tmp_path):
    with pytest.raises(ProblemsError, match=r"val_fraction is 0\.3, but the data names 1"):
        prepare(data, Prepare(val_fraction=0.3), tmp_path / "out")
