"""Step infer-cam: maps of photos of any size and mode, resuming, storage and errors."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scenes import run_on_ranks

from small_runs import (
    MOMENT,
    cut_off,
    end_of,
    invoke,
    kill_when,
    one_rank,
    prepared,
    read_table,
    recipe,
    record_model,
    start,
    trained,
    write_photos,
    write_recipe,
    write_table,
)
from tag2mask.artifacts.handles import CamMaps, CamModel, PreparedData
from tag2mask.data.index import Sample, read_classes, read_index, read_mask_paths
from tag2mask.data.masks import read_mask
from tag2mask.errors import DataError, DeviceError, RecipeError, RunFolderError, WeightsError
from tag2mask.maps.cam_map import read_map
from tag2mask.maps.mapped_photos import mapped_photos
from tag2mask.metrics.threshold_curve import ThresholdCurve
from tag2mask.nn.model_file import read_spec
from tag2mask.seam.model import SEAM_KIND, build_seam, load_seam, save_seam
from tag2mask.seam.multi_scale_inference import PUBLISHED_INFERENCE, MultiScaleInference
from tag2mask.seam.network import SeamNet
from tag2mask.steps import infer_cam as stage
from tag2mask.steps.infer_cam import infer_cam
from tag2mask.steps.prepare import prepare


@pytest.fixture
def model(data: PreparedData, tmp_path: Path) -> CamModel:
    """A barely trained network whose maps exceed zero."""
    made = trained(data, tmp_path / "train-cam")
    file = made.path / "model.safetensors"
    net, spec = load_seam(file)
    with torch.no_grad():
        net.head.weight.abs_()
    save_seam(file, net, spec)
    record_model(made.path)
    return made


def infer(data: PreparedData, model: CamModel, out: Path, **changes: Any) -> CamMaps:
    named = {f"infer_cam__{key}": value for key, value in changes.items()}
    return infer_cam(data, model, recipe(**named).infer_cam, out, one_rank())


def files(maps: CamMaps | Path) -> dict[str, Path]:
    folder = (maps if isinstance(maps, Path) else maps.path) / "maps"
    return {
        path.relative_to(folder).as_posix().removesuffix(".npz"): path
        for path in folder.rglob("*.npz")
        if not path.name.startswith(".tmp-")
    }


def stamps(maps: CamMaps) -> dict[str, int]:
    return {name: path.stat().st_mtime_ns for name, path in files(maps).items()}


def contents(maps: CamMaps | Path) -> dict[str, Any]:
    found = {name: read_map(path) for name, path in files(maps).items()}
    return {
        name: (m.tags, m.scores.tolist(), m.size, m.probabilities.tolist())
        for name, m in found.items()
    }


def test_every_photo_gets_maps_of_its_tags(
    data: PreparedData, model: CamModel, tmp_path: Path
) -> None:
    maps = infer(data, model, tmp_path / "maps")
    samples = {s.id: s for split in ("train", "val") for s in read_index(data.path, split)}
    assert set(files(maps)) == set(samples)
    for name, path in files(maps).items():
        found = read_map(path)
        assert (found.id, found.tags, found.size) == (name, samples[name].tags, samples[name].size)
        assert found.scores.shape[1:] == tuple(-(-side // 4) for side in found.size)
        assert found.probabilities.shape == (3,)
        if found.tags:  # scaled to a maximum of 1 per class
            assert found.scores.max() > 0.9
    assert maps.manifest.counts == {"photos": 12, "computed": 12}
    assert maps.manifest.metrics == {
        "tags": "known",
        "branch": "refined",
        "head": "cam",
        "classes": list(read_classes(data.path).names),
    }
    assert not any(samples[name].tags for name in ("b/05", "b/11"))


def test_maps_of_an_mdc_head(data: PreparedData, tmp_path: Path) -> None:
    model = trained(
        data,
        tmp_path / "train-cam",
        train_cam__head="mdc",
        train_cam__mdc_channels=4,
        train_cam__pcm__enabled=False,
        train_cam__views__enabled=False,
    )
    maps = infer(data, model, tmp_path / "maps", scales=[1.0], flip=False)
    assert maps.manifest.metrics == {
        "tags": "known",
        "branch": "plain",
        "head": "mdc",
        "classes": list(read_classes(data.path).names),
        "without_tagged_pixels": ["a/04"],
    }
    sample = next(s for s in read_index(data.path, "train") if len(s.tags) == 2)
    found = read_map(files(maps)[sample.id])
    net, _ = load_seam(model.path / "model.safetensors")
    with Image.open(sample.image) as photo, torch.no_grad():
        sides = tuple(round(side / max(photo.size) * 2) * 32 for side in photo.size)
        pixels = torch.from_numpy(np.array(photo.resize(sides, Image.Resampling.BICUBIC)))
        mean, std = (torch.tensor(v) for v in (net.backbone.mean, net.backbone.std))
        branches = net.head(net.backbone(((pixels / 255 - mean) / std).permute(2, 0, 1)[None]).last)
    chosen = [tag + 1 for tag in sample.tags]
    combined = (branches[:, 0] + branches[:, 1:].sum(1) / 3)[:, chosen]
    enlarged = F.interpolate(combined, found.scores.shape[1:], mode="bilinear")[0].clamp(min=0)
    high = enlarged.amax(dim=(1, 2), keepdim=True)
    low = enlarged.amin(dim=(1, 2), keepdim=True)
    wanted = ((enlarged - low - 1e-5) / (high - low + 1e-5)).clamp(min=0).numpy()
    np.testing.assert_allclose(found.scores, wanted, atol=3e-3)  # stored as bytes
    tagged = torch.sigmoid(branches[0, :, 1:].mean(dim=(0, 2, 3))).numpy()
    np.testing.assert_allclose(found.probabilities, tagged, atol=1e-3)


def test_maps_of_one_split(data: PreparedData, model: CamModel, tmp_path: Path) -> None:
    maps = infer(data, model, tmp_path / "maps", splits=["val"])
    assert set(files(maps)) == {s.id for s in read_index(data.path, "val")}


def test_the_size_of_a_batch_does_not_matter(
    data: PreparedData, model: CamModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def close(left: CamMaps, right: CamMaps) -> None:
        for name, path in files(left).items():
            one, other = read_map(path), read_map(files(right)[name])
            np.testing.assert_allclose(one.scores, other.scores, atol=2e-3)
            np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-4)

    batched = infer(data, model, tmp_path / "batched", map_dtype="float16")
    monkeypatch.setattr(stage, "CHUNK", 3)
    close(batched, infer(data, model, tmp_path / "single", batch_views=1, map_dtype="float16"))


@pytest.mark.parametrize("published", [False, True])
def test_maps_equal_those_of_the_trained_network(
    data: PreparedData, model: CamModel, tmp_path: Path, published: bool
) -> None:
    maps = infer(
        data,
        model,
        tmp_path / "maps",
        precision="32",
        map_dtype="float16",
        scales=[0.5, 1.0],
        long_side=None if published else 64,
        behavior="published" if published else "default",
    )
    # Without folded batch norms and with full padding.
    net, _ = load_seam(model.path / "model.safetensors")
    settings = replace(
        PUBLISHED_INFERENCE,
        scales=(0.5, 1.0),
        long_side=None if published else 64,
        gate_pcm=True,
        map_stride=4,
        batch_views=1,
        published=published,
    )
    inference = MultiScaleInference(net.eval(), settings, torch.device("cpu"))
    for sample in read_index(data.path, "train"):
        (wanted,) = inference.maps([Image.open(sample.image).convert("RGB")], [sample.tags])
        found = read_map(files(maps)[sample.id])
        np.testing.assert_allclose(found.scores, np.clip(wanted.scores, 0, 1), atol=2e-3)
        np.testing.assert_allclose(found.probabilities, wanted.probabilities, atol=1e-5)


def test_few_large_photos_are_in_memory_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "CHUNK", 4)
    monkeypatch.setattr(stage, "CHUNK_PIXELS", 100)
    sides = [1, 1, 1, 1, 1, 6, 7, 7, 8, 11, 3]
    samples = [Sample(str(i), Path(f"{i}.png"), (s, s), (), "1-1") for i, s in enumerate(sides)]
    chunks = [[sample.size[0] for sample in chunk] for chunk in stage._chunks(samples)]
    assert chunks == [[1, 1, 1, 1], [1, 6, 7], [7], [8], [11], [3]]
    assert list(stage._chunks([])) == []


def test_a_large_jpeg_is_decoded_no_larger_than_needed(
    model: CamModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, rng = tmp_path / "large", np.random.default_rng(0)
    photos.mkdir()
    sizes = {"large": (1200, 1600), "tall": (1003, 501), "small": (90, 120)}
    for name, (height, width) in sizes.items():
        pixels = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8))
        pixels.resize((width, height), Image.Resampling.BICUBIC).save(photos / f"{name}.jpg")
    write_table(photos, [[f"{name}.jpg", "cat", "train"] for name in sizes])
    (photos / "classes.txt").write_text("cat\ndog\nbird\n")
    data = prepared(photos, tmp_path / "large-prepared")
    read, decoded = stage.read_photo, {}

    def noted(sample: Sample, *, at_least: int | None) -> Image.Image:
        found = read(sample, at_least=at_least)
        decoded[sample.id] = found.size[::-1]
        return found

    monkeypatch.setattr(stage, "read_photo", noted)
    maps = infer(data, model, tmp_path / "maps")
    assert decoded == {"large": (150, 200), "tall": (126, 63), "small": (90, 120)}
    infer(data, model, tmp_path / "paper", behavior="published", long_side=64, gate_by_tags=False)
    assert decoded == sizes
    infer(data, model, tmp_path / "own", long_side=None, scales=[0.25])
    assert decoded == sizes
    monkeypatch.setattr(stage, "_needed", lambda *_: None)
    complete = infer(data, model, tmp_path / "complete")
    assert decoded == sizes
    for name, path in files(complete).items():
        one, other = read_map(path), read_map(files(maps)[name])
        assert one.size == other.size == sizes[name]
        assert one.scores.shape == other.scores.shape
        # The range by which maps are scaled is small in a barely trained network.
        difference = np.abs(other.scores - one.scores)
        assert difference.mean() < (1e-9 if name == "small" else 0.1), name
        np.testing.assert_allclose(other.probabilities, one.probabilities, atol=0.01)


def test_a_large_jpeg_that_changed_its_size_is_noticed(model: CamModel, tmp_path: Path) -> None:
    photos = tmp_path / "large"
    photos.mkdir()
    Image.new("RGB", (1600, 1200)).save(photos / "x.jpg")
    write_table(photos, [["x.jpg", "cat", "train"]])
    (photos / "classes.txt").write_text("cat\ndog\nbird\n")
    data = prepared(photos, tmp_path / "large-prepared")
    Image.new("RGB", (1600, 1198)).save(photos / "x.jpg")
    with pytest.raises(DataError, match=r"different size.*x\.jpg.*--update"):
        infer(data, model, tmp_path / "maps")


MODES = ["RGB", "L", "P", "RGBA", "CMYK", "I;16", "1", "LA"]


def test_all_image_modes_and_sizes(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(3)
    table = []
    sizes = [(1, 1), (2000, 37), (37, 500), (3, 64), (64, 48)]
    kinds = [("RGB", size) for size in sizes] + [(mode, (50, 40)) for mode in MODES]
    for index, (mode, size) in enumerate(kinds):
        pixels = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
        photo = Image.fromarray(pixels)
        if mode == "I;16":
            photo = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
        elif mode != "RGB":
            photo = photo.convert(mode)
        name = f"{index}.tif"
        photo.save(photos / name)
        table.append([name, "cat" if index % 2 else "dog", "val" if index % 5 == 4 else "train"])
    write_table(photos, table)
    data = prepared(photos, tmp_path / "prepare")
    model = trained(data, tmp_path / "train-cam")
    for changes in ({}, {"long_side": None}, {"behavior": "published", "gate_by_tags": False}):
        maps = infer(
            data, model, tmp_path / f"maps{len(changes)}{'paper' in str(changes)}", **changes
        )
        found = {name: read_map(path) for name, path in files(maps).items()}
        assert len(found) == len(kinds)
        for index, (_, (width, height)) in enumerate(kinds):
            assert found[str(index)].size == (height, width)
            assert found[str(index)].full_scores().shape == (1, height, width)


def test_an_interrupted_step_computes_only_the_rest(
    data: PreparedData, model: CamModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = infer(data, model, tmp_path / "complete")
    monkeypatch.setattr(stage, "CHUNK", 5)
    write, written = stage.write_map, []

    def interrupted(path: Path, *arguments: Any, **options: Any) -> None:
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(path)
        write(path, *arguments, **options)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(stage, "write_map", interrupted)
        infer(data, model, tmp_path / "maps")
    assert len(files(tmp_path / "maps")) == 5
    before = {path: path.stat().st_mtime_ns for path in files(tmp_path / "maps").values()}
    maps = infer(data, model, tmp_path / "maps")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert maps.manifest.counts == {"photos": 12, "computed": 7}
    assert contents(maps) == contents(complete)


@pytest.mark.slow
def test_maps_are_the_same_after_kills(model: CamModel, tmp_path: Path) -> None:
    data = prepared(write_photos(tmp_path / "many", 240), tmp_path / "many-prepared")
    # One view per batch: the composition of batches can change the last bit.
    settings = write_recipe(tmp_path / "recipe.yaml", infer_cam__batch_views=1)
    complete = contents(infer(data, model, tmp_path / "complete", batch_views=1))
    out = tmp_path / "killed"
    line = [
        "infer-cam",
        "--data",
        data.path,
        "--model",
        model.path,
        "--recipe",
        settings,
        "--out",
        out,
    ]
    for count in (MOMENT.randint(1, 60), MOMENT.randint(61, 120)):
        kill_when(start(*line), lambda count=count: len(files(out)) >= count)
        assert not (out / "manifest.json").exists()
        written = contents(out)  # each of them complete
        assert count <= len(written) < 240
        assert all(complete[name] == found for name, found in written.items())
    kept = {name: path.stat().st_mtime_ns for name, path in files(out).items()}
    end_of(start(*line))
    maps = CamMaps.open(out)
    assert contents(maps) == complete
    assert not list(out.rglob(".tmp-*"))
    # Recorded maps are not computed again, except the few killed before they were recorded.
    computed = maps.manifest.counts["computed"]
    assert 240 - len(kept) <= computed <= 240 - len(kept) + stage.CHUNK
    assert sum(stamps(maps)[name] == stamp for name, stamp in kept.items()) == 240 - computed


def test_only_missing_maps_of_a_complete_folder_are_computed(
    data: PreparedData, model: CamModel, tmp_path: Path
) -> None:
    maps = infer(data, model, tmp_path / "maps")
    before = stamps(maps)
    assert stamps(infer(data, model, tmp_path / "maps")) == before
    files(maps)["a/00"].unlink()  # as the message about a damaged map recommends
    again = infer(data, model, tmp_path / "maps")
    changed = {name for name, stamp in stamps(again).items() if stamp != before[name]}
    assert changed == {"a/00"}
    assert again.manifest.counts == {"photos": 12, "computed": 1}


def test_only_photos_changed_in_the_data_are_computed_again(
    data: PreparedData, model: CamModel, tmp_path: Path
) -> None:
    maps = infer(data, model, tmp_path / "maps")
    before = stamps(maps)
    photos = tmp_path / "photos"
    rows = read_table(photos)
    rows[0][1] = "bird"  # retagged
    gone = rows.pop(1)[0].removesuffix(".png")
    Image.new("RGB", (40, 40), "red").save(photos / rows[1][0])  # another photo
    Image.new("RGB", (40, 40), "blue").save(photos / "new.png")
    write_table(photos, [*rows, ["new.png", "cat", "train"]])
    changed = prepare(photos, recipe().prepare, data.path, update=True)
    after = stamps(infer(changed, model, tmp_path / "maps"))
    redone = {name for name, stamp in after.items() if before.get(name) != stamp}
    assert redone == {"a/00", rows[1][0].removesuffix(".png"), "new"}
    assert set(before) - set(after) == {gone}
    assert read_map(files(maps)["a/00"]).tags == (2,)


def test_predicted_tags_ignore_known_ones(
    data: PreparedData, model: CamModel, tmp_path: Path
) -> None:
    maps = infer(data, model, tmp_path / "some", tags="predicted", tag_threshold=0.5)
    for path in files(maps).values():
        found = read_map(path)
        likely = np.flatnonzero(found.probabilities >= 0.5).tolist()
        assert set(found.tags) == {*likely, int(found.probabilities.argmax())}
    every = infer(data, model, tmp_path / "all", tags="predicted", tag_threshold=0.0)
    assert all(read_map(path).tags == (0, 1, 2) for path in files(every).values())
    before = stamps(every)
    rows = read_table(tmp_path / "photos")
    rows[0][1] = "bird"
    write_table(tmp_path / "photos", rows)
    changed = prepare(tmp_path / "photos", recipe().prepare, data.path, update=True)
    assert (
        stamps(infer(changed, model, tmp_path / "all", tags="predicted", tag_threshold=0.0))
        == before
    )
    assert every.manifest.metrics["tags"] == "predicted"


def test_the_best_tag_is_predicted_however_improbable(
    data: PreparedData, model: CamModel, tmp_path: Path
) -> None:
    maps = infer(data, model, tmp_path / "none", tags="predicted", tag_threshold=1.0)
    for path in files(maps).values():
        found = read_map(path)
        assert found.probabilities.max() < 1
        assert found.tags == (int(found.probabilities.argmax()),)


def test_tags_are_predicted_for_untagged_photos(
    data: PreparedData, model: CamModel, tmp_path: Path
) -> None:
    options = {"tags": "untagged", "tag_threshold": 0.0}
    known = contents(infer(data, model, tmp_path / "known"))
    maps = infer(data, model, tmp_path / "maps", **options)
    found = contents(maps)
    untagged = {name for name, (tags, *_) in known.items() if not tags}
    assert untagged == {"b/05", "b/11"}
    assert all(found[name][0] == (0, 1, 2) for name in untagged)
    for name in known.keys() - untagged:
        assert found[name][0] == known[name][0]
        np.testing.assert_allclose(found[name][1], known[name][1], atol=1 / 255 + 1e-6)
    assert maps.manifest.metrics["tags"] == "known or predicted"
    before = stamps(maps)
    rows = read_table(tmp_path / "photos")
    rows[5][1] = "bird"  # b/05 gets a tag
    write_table(tmp_path / "photos", rows)
    changed = prepare(tmp_path / "photos", recipe().prepare, data.path, update=True)
    again = infer(changed, model, tmp_path / "maps", **options)
    assert {name for name, stamp in stamps(again).items() if stamp != before[name]} == {"b/05"}
    assert contents(again)["b/05"][0] == (2,)


def test_several_ranks_share_the_photos(
    data: PreparedData, model: CamModel, tmp_path: Path
) -> None:
    complete = infer(data, model, tmp_path / "complete", map_dtype="float16")

    def on_rank(rank: Any) -> CamMaps:
        real = one_rank()
        rank.device, rank.autocast = real.device, real.autocast
        return infer_cam(
            data, model, recipe(infer_cam__map_dtype="float16").infer_cam, tmp_path / "shared", rank
        )

    shared = run_on_ranks(on_rank, 3)[0]
    assert shared.manifest.counts == complete.manifest.counts
    one, other = contents(complete), contents(shared)
    assert one.keys() == other.keys()
    for name, (tags, scores, size, _) in one.items():
        assert (tags, size) == (other[name][0], other[name][2])
        np.testing.assert_allclose(scores, other[name][1], atol=2e-3)


def test_an_unreadable_photo_is_reported_or_skipped(
    data: PreparedData, model: CamModel, tmp_path: Path
) -> None:
    out = tmp_path / "maps"
    infer(data, model, out)
    photo = tmp_path / "photos" / "b" / "03.png"
    cut_off(photo)
    broken = prepare(tmp_path / "photos", recipe().prepare, data.path, update=True)
    with pytest.raises(DataError, match=r"photo can't be read.*03\.png.*--skip-bad"):
        infer(broken, model, out)
    maps = infer(broken, model, out, skip_bad=True)
    assert [line.split(": ")[0] for line in maps.manifest.skipped] == ["b/03"]
    assert maps.manifest.counts["photos"] == 11
    # The map of the earlier photo was deleted.
    assert "b/03" not in files(maps)
    Image.new("RGB", (40, 40)).save(photo)
    fixed = prepare(tmp_path / "photos", recipe().prepare, data.path, update=True)
    maps = infer(fixed, model, out)
    assert (maps.manifest.skipped, maps.manifest.counts["computed"]) == ((), 1)
    assert "b/03" in files(maps)


def test_all_photos_unreadable(data: PreparedData, model: CamModel, tmp_path: Path) -> None:
    for row in read_table(tmp_path / "photos"):
        cut_off(tmp_path / "photos" / row[0])
    maps = infer(data, model, tmp_path / "maps", skip_bad=True)
    assert maps.manifest.counts == {"photos": 0, "computed": 0}
    assert len(maps.manifest.skipped) == 12


def test_a_photo_that_changed_since_it_was_listed(
    data: PreparedData, model: CamModel, tmp_path: Path
) -> None:
    Image.new("RGB", (20, 90)).save(tmp_path / "photos" / "a" / "00.png")
    with pytest.raises(DataError, match=r"different size.*00\.png.*--update"):
        infer(data, model, tmp_path / "maps")


def test_a_model_of_other_classes(data: PreparedData, model: CamModel, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "others")
    rows = [[row[0], row[1].replace("dog", "hen"), row[2]] for row in read_table(photos)]
    write_table(photos, rows)
    (photos / "classes.txt").write_text("cat\nhen\nbird\n")
    other = prepared(photos, tmp_path / "others-prepared")
    with pytest.raises(DataError, match="different classes"):
        infer(other, model, tmp_path / "maps")


def test_refined_maps_of_a_plain_network(data: PreparedData, tmp_path: Path) -> None:
    plain = trained(data, tmp_path / "plain", train_cam__pcm__enabled=False, train_cam__seed=1)
    with pytest.raises(RecipeError, match=r"without PCM.*infer_cam\.branch.*plain or auto"):
        infer(data, plain, tmp_path / "maps", branch="refined")
    assert infer(data, plain, tmp_path / "auto").manifest.metrics["branch"] == "plain"


def test_maps_that_are_0_everywhere_are_an_error(
    data: PreparedData, model: CamModel, tmp_path: Path
) -> None:
    file = model.path / "model.safetensors"
    net, spec = load_seam(file)
    weight = net.head.weight.detach().clone()
    with torch.no_grad():
        net.head.weight.zero_()
    save_seam(file, net, spec)
    record_model(model.path)
    with pytest.raises(
        DataError,
        match=r"all 10 tagged photos are 0 everywhere.*probability 0\.50.*train_cam\.epochs",
    ):
        infer(data, model, tmp_path / "maps")
    assert len(files(tmp_path / "maps")) == 12, "they are kept, for a look at them"
    with pytest.raises(DataError, match="all 10 tagged photos are 0 everywhere"):
        infer(data, model, tmp_path / "maps")
    with torch.no_grad():
        net.head.weight[1] = weight[1]  # one class is found again
    save_seam(file, net, spec)
    record_model(model.path)
    manifest = infer(data, model, tmp_path / "other").manifest
    samples = {s.id: s for split in ("train", "val") for s in read_index(data.path, split)}
    zero = [
        name
        for name, path in files(tmp_path / "other").items()
        if samples[name].tags and not read_map(path).scores.any()
    ]
    assert 2 < len(zero) < 10 and sorted(manifest.metrics["without_tagged_pixels"]) == sorted(zero)
    assert manifest.counts["without_tagged_pixels"] == len(zero)
    (warning,) = manifest.metrics["warnings"]
    assert f"{len(zero)} of 10 tagged photos" in warning and "train_cam.epochs" in warning


def test_both_branches_differ(data: PreparedData, model: CamModel, tmp_path: Path) -> None:
    refined = contents(infer(data, model, tmp_path / "refined", branch="refined"))
    plain = contents(infer(data, model, tmp_path / "plain", branch="plain"))
    assert refined["a/00"][1] != plain["a/00"][1]
    assert refined["a/00"][3] == plain["a/00"][3]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(
    data: PreparedData, model: CamModel, tmp_path: Path, value: float
) -> None:
    file = model.path / "model.safetensors"
    net, spec = load_seam(file)
    with torch.no_grad():
        net.head.weight[0, 0] = value
    save_seam(file, net, spec)
    record_model(model.path)
    with pytest.raises(WeightsError, match=r"aren't finite \(head\.weight\).*model\.safetensors"):
        infer(data, model, tmp_path / "maps")


def test_maps_that_are_not_finite(
    data: PreparedData, model: CamModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = SeamNet.forward
    monkeypatch.setattr(
        SeamNet,
        "forward",
        lambda net, *a, **k: type(forward(net, *a, **k))(
            *(part if part is None else part * float("nan") for part in forward(net, *a, **k))
        ),
    )
    with pytest.raises(DataError, match=r"aren't finite.*infer_cam\.precision"):
        infer(data, model, tmp_path / "maps")
    assert files(tmp_path / "maps") == {}


def test_a_model_file_that_is_cut_off_or_of_another_network(
    data: PreparedData, model: CamModel, tmp_path: Path
) -> None:
    file = model.path / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(WeightsError, match=r"damaged or replaced.*model\.safetensors"):
        infer(data, model, tmp_path / "maps")
    record_model(model.path)
    with pytest.raises(WeightsError, match=r"cut off.*model\.safetensors"):
        infer(data, model, tmp_path / "maps")
    file.write_bytes(content)
    record_model(model.path)
    spec = read_spec(file, SEAM_KIND)
    other = replace(spec, backbone="test_resnet")
    save_seam(file, build_seam(spec), other)
    record_model(model.path)
    with pytest.raises(
        WeightsError,
        match=r"weights of another network: \d+ tensors expected, "
        r"\d+ missing \(backbone\.",
    ):
        infer(data, model, tmp_path / "maps")


def test_running_out_of_memory_names_the_settings(
    data: PreparedData, model: CamModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB")

    monkeypatch.setattr(SeamNet, "forward", forward)
    with pytest.raises(DeviceError, match=r"out of memory.*runtime\.threads or infer_cam"):
        infer(data, model, tmp_path / "maps")


def test_a_full_disk_keeps_what_is_written(
    data: PreparedData, model: CamModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "CHUNK", 4)
    save, saved = np.savez_compressed, []

    def full(file: Any, **arrays: Any) -> None:
        if len(saved) == 6:
            file.write(b"half of it")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        saved.append(1)
        save(file, **arrays)

    with monkeypatch.context() as patched:
        patched.setattr(np, "savez_compressed", full)
        with pytest.raises(RunFolderError, match=r"disk is full.*resumes"):
            infer(data, model, tmp_path / "maps")
    assert not list((tmp_path / "maps").rglob(".tmp-*"))
    assert len(files(tmp_path / "maps")) == 6
    maps = infer(data, model, tmp_path / "maps")
    assert maps.manifest.counts["photos"] == 12
    assert maps.manifest.counts["computed"] in range(6, 9)


def test_the_command_skips_bad_photos_and_exits_with_3(
    data: PreparedData, model: CamModel, tmp_path: Path
) -> None:
    cut_off(tmp_path / "photos" / "b" / "03.png")
    settings = write_recipe(tmp_path / "recipe.yaml")
    line = [
        "infer-cam",
        "--data",
        data.path,
        "--model",
        model.path,
        "--recipe",
        settings,
        "--out",
        tmp_path / "maps",
    ]
    stopped = invoke(*line)
    assert stopped.exit_code == 1
    assert "03.png" in stopped.stderr
    done = invoke(*line, "--skip-bad")
    assert done.exit_code == 3, done.stderr
    assert "left out: b/03: photo can't be read" in done.stderr


@pytest.fixture(scope="module")
def real(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[PreparedData, CamModel]:
    """16 masked photos of the shared set and a network trained on them for a minute."""
    root = tmp_path_factory.mktemp("real")
    masked = sorted(p.stem for p in (shared / "voc12" / "SegmentationClass").glob("*.png"))
    train = (shared / "voc12" / "ImageSets" / "Segmentation" / "train.txt").read_text().split()
    ids = [name for name in train if name in set(masked)][::50][:16]
    (root / "ids.txt").write_text("\n".join(ids) + "\n")
    section = recipe(prepare__train_split=str(root / "ids.txt"), prepare__val_split=None).prepare
    data = prepare(shared / "voc12", section, root / "prepare")
    model = trained(
        data,
        root / "train-cam",
        train_cam__backbone__name="tf_efficientnet_lite0",
        train_cam__backbone__weights="packaged",
        train_cam__crop=128,
        train_cam__long_side=[128, 160],
        train_cam__epochs=5,
        train_cam__optimizer__lr=3e-4,
    )
    return data, model


@pytest.mark.slow
def test_stored_maps_are_small_and_as_good_as_full_ones(
    real: tuple[PreparedData, CamModel], tmp_path: Path
) -> None:
    data, model = real
    options = {"long_side": 224, "scales": [1.0]}
    stored = infer(data, model, tmp_path / "stored", **options)
    complete = infer(
        data, model, tmp_path / "complete", map_stride=1, map_dtype="float16", **options
    )
    masks = read_mask_paths(data.path)
    thresholds = tuple(round(i / 50, 2) for i in range(30))
    curves = []
    for maps in (stored, complete):
        curve = ThresholdCurve.empty(20, thresholds)
        for name, path in files(maps).items():
            found = read_map(path)
            curve.add(read_mask(masks[name], 20), found.tags, found.full_scores())
        curves.append(curve.miou() * 100)
    for name, path in files(stored).items():
        found = read_map(path)
        height, width = found.size
        assert path.stat().st_size < 4 * len(found.tags) * height * width / 8, name
    assert np.abs(curves[0] - curves[1]).max() < 0.1, np.abs(curves[0] - curves[1])


def test_lost_files_are_counted_against_the_list_of_photos(
    data: PreparedData, model: CamModel, tmp_path: Path
) -> None:
    maps = infer(data, model, tmp_path / "maps")
    expected = contents(maps)
    (maps.path / "items.jsonl").unlink()
    assert infer(data, model, maps.path).manifest.counts["computed"] == 12  # nothing is missing
    files(maps)["a/00"].unlink()
    assert infer(data, model, maps.path).manifest.counts == {"photos": 12, "computed": 12}
    assert contents(maps) == expected
    files(maps)["b/03"].unlink()
    assert infer(data, model, maps.path).manifest.counts == {"photos": 12, "computed": 1}
    assert contents(maps) == expected
    victim = tmp_path / "victim.npz"
    victim.touch()
    with (maps.path / "items.jsonl").open("a") as journal:
        journal.write('{"id": "../../victim", "key": "x", "session": 9}\n')
    files(maps)["b/03"].unlink()
    infer(data, model, maps.path)
    assert contents(maps) == expected and victim.exists()


def test_the_step_that_made_a_damaged_map_is_named(
    data: PreparedData, model: CamModel, tmp_path: Path
) -> None:
    maps = infer(data, model, tmp_path / "maps")
    files(maps)["a/00"].write_bytes(b"PK")
    photos = replace(mapped_photos(data, maps), made_by="walk")
    sample = next(sample for sample in read_index(data.path, "train") if sample.id == "a/00")
    with pytest.raises(DataError, match=r"can't be read.*Delete the file and run walk again"):
        photos.read(sample)
