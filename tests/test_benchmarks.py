"""Every benchmark runs at a toy size, and both sides of a comparison give the same results."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks import (
    affinity_labels,
    crf,
    export_masks,
    growth,
    inference_views,
    many_photos,
    pcm_memory,
    predict_photos,
    prepare_time,
    quality_score,
    run_steps,
    small_photos,
    step_parts,
    threshold_curve,
    walk,
)
from benchmarks.__main__ import main
from benchmarks.demo_run import demo_run
from benchmarks.measure import Row, side_by_side
from benchmarks.peak import measured_apart
from benchmarks.published_step import (
    VIEW_SCALE,
    PublishedNet,
    published_loss,
    published_terms,
)
from benchmarks.rows import BENCHMARKS
from benchmarks.train_steps import inputs, published_behavior_net

from tag2mask.artifacts import sub_folders
from tag2mask.artifacts.step_table import STEPS
from tag2mask.classes import VOC_NAMES, ClassSet
from tag2mask.data.index import read_index, read_mask_rows
from tag2mask.data.masks import read_mask
from tag2mask.recipe.loading import load_recipe
from tag2mask.recipe.sections import Predict, Prepare
from tag2mask.runtime.precision import resolve_precision
from tag2mask.seam.model import build_seam
from tag2mask.seam.multi_scale_inference import MultiScaleInference
from tag2mask.seam.objective import PUBLISHED_OBJECTIVE, SeamObjective
from tag2mask.seam.pcm import correlate
from tag2mask.seam.transform import ViewTransform
from tag2mask.segmentation.torch_segmenter import TorchSegmenter
from tag2mask.steps.infer_cam import inference_settings
from tag2mask.steps.predict import predict
from tag2mask.steps.prepare import prepare
from tag2mask.steps.train_cam import net_spec

STEPS_OF_GROWTH = {
    "prepare",
    "prepare_again",
    "data_check",
    "pseudo_masks",
    "pseudo_masks_again",
    "pseudo_masks_resumed",
    "evaluate",
    "report",
    "status",
    "predict",
    "predict_again",
    "masks_export",
    "masks_import",
    "prepare_cvat",
}
ROWS = {
    "train_step_seam_vs_cam",
    "train_step_vs_published",
    "train_step_vs_published_float32",
    "train_cam_vs_raw_step",
    "train_affinity_vs_raw_step",
    "train_segmenter_vs_raw_step",
    "infer_cam_vs_forward",
    "affinity_labels_vs_crf",
    "walk_vs_forward",
    "run_minutes_vs_networks",
    "inference_vs_single",
    "threshold_curve_vs_passes",
    "pcm_memory_vs_dense",
    "walk_vs_dense",
    "walk_vs_dense_steps",
    "crf_vs_pydensecrf_2",
    "crf_vs_pydensecrf_4",
    "crf_vs_pydensecrf_21",
    "crf_two_threads_vs_one",
    "loop_in_cache_two_threads_vs_one",
    "loop_in_memory_two_threads_vs_one",
    "affinity_labels_photos_per_second",
    "disk_maps_per_photo",
    "disk_affinity_labels_per_photo",
    "disk_walked_maps_per_photo",
    "disk_masks_per_photo",
    "predict_vs_forward",
    "onnx_vs_torch",
    "start_up_onnx",
    "start_up_torch",
    *(
        f"file_to_mask_{size}mp_{threads}_threads"
        for size in ("0_2", "2", "5")
        for threads in (1, 2)
    ),
    "run_memory_vs_photos",
    "prepare_100k_seconds",
    "prepare_vs_header_loop",
    "export_coco_photos_per_second",
    "data_check_vs_header_loop",
    *(f"growth_{step}{what}" for step in STEPS_OF_GROWTH for what in ("", "_memory")),
    *(f"run_{step.step.replace('-', '_')}" for step in STEPS),
}
AGAINST_PYDENSECRF = {"crf_vs_pydensecrf_2", "crf_vs_pydensecrf_4", "crf_vs_pydensecrf_21"}
HAS_PYDENSECRF = importlib.util.find_spec("pydensecrf") is not None


@pytest.mark.slow
def test_rows_and_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bench.json"
    main(["--toy", "--out", str(out)])
    written = json.loads(out.read_text())
    assert set(BENCHMARKS) == ROWS
    assert set(written["rows"]) == ROWS - (set() if HAS_PYDENSECRF else AGAINST_PYDENSECRF)
    for name, row in written["rows"].items():
        figures, settings = ("ratio", "ours", "other", "unit"), BENCHMARKS[name].settings()
        assert set(row) == {*figures, "network", "precision", "device", "threads"}, name
        assert {key: row[key] for key in settings} == settings, name
        assert row["ours"] >= 0 and row["other"] > 0, name
        assert row["ratio"] == pytest.approx(row["ours"] / row["other"]), name
    assert written["toy"] and written["machine"]["cores"] >= 1
    assert written["versions"]["torch"] == torch.__version__
    assert "train_step" in capsys.readouterr().out


def test_an_unknown_name_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["train_stepp"])
    assert stopped.value.code == 2
    assert "train_stepp" in capsys.readouterr().err


def test_settings_name_network_precision_device_and_threads() -> None:
    assert BENCHMARKS["walk_vs_dense_steps"].settings() == {
        "network": None,
        "precision": "float32",
        "device": "cpu",
        "threads": 1,
    }
    fastest = {torch.float32: "float32", torch.bfloat16: "bf16"}[
        resolve_precision("auto", torch.device("cpu"))
    ]
    step = BENCHMARKS["train_step_vs_published"].settings()
    assert step["network"] == "EfficientNet-Lite0"
    assert step["precision"] == f"{fastest} / float32"


def test_medians() -> None:
    assert Row.of([1.0, 9.0, 2.0], [4.0, 4.0, 90.0], "s") == (0.5, 2.0, 4.0, "s")
    calls: list[str] = []
    side_by_side(lambda: calls.append("a"), lambda: calls.append("b"), seconds=0)
    assert calls == ["a", "b"] * 4


@pytest.fixture(scope="module")
def photos_with_differing_counts() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Photos of 224 px; ECR leaves values out only where a photo has four tags or more."""
    image, tags, valid = inputs(3, 224)
    tags.zero_()
    for row, count in zip(tags, (1, 3, 7), strict=True):
        row[2 : 2 + count] = 1.0
    return image, tags, valid


def test_our_step_computes_the_published_losses_and_gradients(
    photos_with_differing_counts: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    image, tags, valid = photos_with_differing_counts
    torch.manual_seed(0)
    net = published_behavior_net(dropout=0.0)
    published = PublishedNet(net, dropout=0.0).train()
    seam = SeamObjective(net, PUBLISHED_OBJECTIVE)
    ours = seam(image, tags, valid, ViewTransform(scale=VIEW_SCALE))
    expected = published_terms(published, image, tags)
    assert set(ours) == set(expected)
    for name, term in expected.items():
        assert ours[name].value.item() == pytest.approx(term.item(), abs=1e-5), name
    everything = SeamObjective(net, replace(PUBLISHED_OBJECTIVE, ecr_top=1.0))
    unmined = everything(image, tags, valid, ViewTransform(scale=VIEW_SCALE))
    for name in ("ecr1", "ecr2"):  # the sum over all values is larger: mining leaves some out
        assert unmined[name].total.item() > 1.001 * ours[name].total.item(), name
    weights = seam.total_weights(two_views=True)
    torch.stack([weights[name] * term.value for name, term in ours.items()]).sum().backward()
    published_loss(expected).backward()
    assert net.pcm is not None
    plain = dict(published.backbone.named_parameters())
    for name, parameter in net.backbone.net.named_parameters():  # type: ignore[attr-defined]
        assert parameter.requires_grad == plain[name].requires_grad, name
    for mine, other in (
        (net.head.weight, published.fc8.weight),
        (net.pcm.fuse.weight, published.f9.weight),
        (net.pcm.embed_low.weight, published.f8_3.weight),
        (net.pcm.embed_mid.weight, published.f8_4.weight),
        (net.backbone.net.conv_stem.weight, plain["conv_stem.weight"]),  # type: ignore[attr-defined]
    ):
        assert mine.grad is not None and other.grad is not None
        assert mine.grad.norm().item() == pytest.approx(other.grad.norm().item(), rel=1e-3)


def test_views_one_at_a_time_give_the_same_maps() -> None:
    recipe = load_recipe("lite0-cpu")
    net = build_seam(net_spec(recipe.train_cam, ClassSet(VOC_NAMES))).eval()
    section = recipe.infer_cam.model_copy(update={"scales": (0.5, 1.0), "long_side": 64})
    settings = inference_settings(net, section)
    photos, tags = inference_views.photos_of(((60, 45), (45, 60))), [(3,), (1, 5)]
    batched = MultiScaleInference(net, settings, torch.device("cpu")).maps(photos, tags)
    single = inference_views.one_at_a_time(net, settings, photos, tags)
    for one, other in zip(batched, single, strict=True):
        np.testing.assert_allclose(one.scores, other.numpy(), atol=1e-3)


def test_passes_give_the_same_curve() -> None:
    photos, thresholds = threshold_curve.photos_of(4, (30, 20)), (0.1, 0.25, 0.9)
    np.testing.assert_allclose(
        threshold_curve.one_pass(photos, thresholds), threshold_curve.passes(photos, thresholds)
    )


def test_dense_pcm_gives_the_same_maps() -> None:
    maps, features = torch.rand(2, 4, 6, 5), torch.randn(2, 8, 6, 5)
    torch.testing.assert_close(
        correlate(maps, features, power=1.0, block_mib=64), pcm_memory.dense(maps, features)
    )


@pytest.mark.skipif(not HAS_PYDENSECRF, reason="pydensecrf2 needs a C++ compiler")
def test_pydensecrf_gives_the_same_marginals() -> None:
    image, scores = crf.inputs(3, toy=True)
    np.testing.assert_allclose(crf.ours(image, scores), crf.theirs(image, scores), atol=2e-3)


@pytest.mark.slow
def test_a_plain_loop_gives_the_same_labels(tmp_path: Path) -> None:
    run = demo_run(toy=True)
    affinity_labels.step(run, tmp_path / "step")
    affinity_labels.plain_loop(run, tmp_path / "loop")
    one, other = (
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name / "labels").rglob("*.png")
        }
        for name in ("step", "loop")
    )
    assert len(one) == 10
    assert list(one.values()) == list(other.values())


def test_a_row_that_cannot_be_measured_is_left_out(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    main(["crf_vs_pydensecrf_2", "--toy", "--out", str(tmp_path / "bench.json")])
    assert "crf_vs_pydensecrf_2 is left out: pydensecrf2 is not" in capsys.readouterr().err


def test_the_dense_matrix_gives_the_same_walk() -> None:
    affinity, maps = walk.affinity_and_maps((7, 9))
    ours = walk.walk(affinity, maps)
    torch.testing.assert_close(ours, walk.squared(affinity, maps), atol=1e-5, rtol=0)
    torch.testing.assert_close(ours, walk.dense_steps(affinity, maps), atol=1e-5, rtol=0)


def test_memory_is_measured() -> None:
    (mib,) = measured_apart("benchmarks.pcm_memory", "dense", 60, 60)
    affinity = 3600**2 * 4 / 2**20
    assert 2 * affinity <= mib <= 12 * affinity


def test_the_forward_alone_gives_the_same_masks(tmp_path: Path) -> None:
    photos = predict_photos.write_photos(tmp_path / "photos", 2)
    net, segmenter = predict_photos.network()
    made = predict(photos, segmenter, Predict(), tmp_path / "out", model="random")
    images = predict_photos.network_inputs(photos, segmenter)
    for photo, image in zip(photos, images, strict=True):
        scores = predict_photos.forward(net, image).float().softmax(1)
        labels = read_mask(made.path / "masks" / f"{photo.id}.png", len(VOC_NAMES))
        height, width = (round(side * 320 / 500) for side in labels.shape)
        enlarged = torch.nn.functional.interpolate(
            scores[:, :, :height, :width], labels.shape, mode="bilinear", align_corners=False
        )
        assert (enlarged[0].argmax(0).numpy() == labels).mean() > 0.999


def test_onnx_gives_the_same_probabilities(tmp_path: Path) -> None:
    photos = predict_photos.write_photos(tmp_path / "photos", 2)
    net, bf16 = predict_photos.network()
    images = [image.numpy() for image in predict_photos.network_inputs(photos, bf16)]
    torch_segmenter = TorchSegmenter(net, bf16.classes, bf16.long_side, predict_photos.CPU, "32")
    onnx_segmenter = predict_photos.as_onnx(net, bf16, tmp_path)
    for one, other in zip(
        *(
            predict_photos.label_all(segmenter, images)
            for segmenter in (onnx_segmenter, torch_segmenter)
        ),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, atol=1e-3)


@pytest.mark.slow
def test_the_steps_of_a_run_are_timed() -> None:
    rows = [row(toy=True) for row in run_steps.STEP_ROWS.values()]
    assert all(row.ours > 0 for row in rows)
    assert sum(row.ratio for row in rows) == pytest.approx(1)


def test_photos_to_prepare_are_tagged(tmp_path: Path) -> None:
    small_photos.write_photos(tmp_path / "data", 30)
    handle = prepare(tmp_path / "data", Prepare(val_fraction=0.0), tmp_path / "out")
    listed = prepare_time.plain_listing(tmp_path / "data")
    samples = read_index(handle.path, "train")
    assert [s.size for s in samples] == [(h, w) for _, (w, h), _ in listed]
    assert all(len(s.tags) == len(names) for s, (_, _, names) in zip(samples, listed, strict=True))


def test_evidence_that_ranks_the_photos_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for number in range(40):
        right = int(rng.integers(1, 100))
        cells = [[0, 0, 100], [1, 1, right], [1, 0, 100 - right]]
        assert quality_score.photo_miou({"counts": {"s": cells}}, "s") == pytest.approx(
            (right / 100 + 100 / (200 - right)) / 2
        )
        rows.append(
            {
                "id": f"{number}",
                "split": "val" if number % 2 else "train",
                "tags": ["cat"],
                "evidence": {"tag_agreement": right / 100, "certainty": float(rng.random())},
                "counts": {"pseudo masks": cells},
            }
        )
    (tmp_path / "evaluate").mkdir()
    (tmp_path / "evaluate" / "photos.jsonl").write_text("\n".join(map(json.dumps, rows)))
    quality_score.main([str(tmp_path)])
    assert "val" not in capsys.readouterr().out, "only where it is asked for"
    tuning = tmp_path / "tuning.txt"
    tuning.write_text("\n".join(f"{number}" for number in range(1, 24, 2)))  # a held-out split
    arguments = [str(tmp_path), "--validation", "--tuning", str(tuning)]
    quality_score.main(arguments)
    assert "pseudo masks, tuning (12)" in capsys.readouterr().out
    arguments = [str(tmp_path), "--validation"]
    quality_score.main(arguments)
    lines = capsys.readouterr().out.splitlines()
    agreement, score = (
        next(line for line in lines if line.startswith(name)).split()
        for name in ("tag_agreement", "quality score")
    )
    assert agreement[1:] == ["1.00", "/", "1.00"] * 2, "of train and of val"
    assert float(score[2]) < 1
    assert "  train 1.00, val 1.00: tag_agreement" in lines
    assert any(line.startswith("quality score of pseudo masks: certainty + tag") for line in lines)
    # A photo of an ignored mask lacks kinds of evidence and has no mIoU; another lacks one kind.
    ignored = rows[0] | {"evidence": {"certainty": 0.5}, "counts": {"pseudo masks": []}}
    lacking = rows[1] | {"evidence": {"tag_agreement": rows[1]["evidence"]["tag_agreement"]}}
    lines = [ignored, *rows, lacking]
    (tmp_path / "evaluate" / "photos.jsonl").write_text("\n".join(map(json.dumps, lines)))
    quality_score.main(arguments)
    printed = capsys.readouterr().out
    assert "  train 1.00, val 1.00: tag_agreement" in printed.splitlines() and "nan" not in printed
    assert np.isnan(quality_score.rank_by(rows, ["walk_agreement"], "pseudo masks")).all()
    (tmp_path / "evaluate" / "photos.jsonl").write_text('{"id": "a"}')
    with pytest.raises(SystemExit, match="--redo"):
        quality_score.main([str(tmp_path)])


def test_the_plain_loop_reads_the_same_photos_and_masks(tmp_path: Path) -> None:
    small_photos.write_photos(tmp_path / "data", 30)
    small_photos.write_masks(tmp_path / "data", 30)
    handle = prepare(tmp_path / "data", Prepare(val_fraction=0.0), tmp_path / "out")
    assert len(handle.manifest.metrics["warnings"]) == 1  # there is no validation photo
    rows = list(prepare_time.plain_rows(tmp_path / "data", decode=True))
    prepared = list(zip(read_index(handle.path, "train"), read_mask_rows(handle.path), strict=True))
    assert [(row["stamp"], row["mask_stamp"], tuple(row["values"])) for row in rows] == [
        (sample.stamp, mask.stamp, mask.values) for sample, mask in prepared
    ]
    assert [row["size"][::-1] for row in rows] == [sample.size for sample, _ in prepared]


@pytest.mark.slow
def test_each_step_works_on_maps_written_by_script(tmp_path: Path) -> None:
    rows = [row(toy=True) for row in growth.TIME_ROWS.values()]
    assert all(row.ours > 0 for row in rows)
    assert all(row(toy=True).ours > 10 for row in growth.MEMORY_ROWS.values())


def test_pycocotools_encodes_the_exported_objects(tmp_path: Path) -> None:
    masks = [export_masks.blobs(0)]
    source = export_masks.mask_source(tmp_path / "masks", masks, 2)
    out = tmp_path / "out"
    export_masks.export_masks(source, export_masks.TARGETS["coco"], out, photo_files="none")
    found = json.loads((out / "annotations/instances_train.json").read_text())["annotations"]
    codes = export_masks.encoded(export_masks.object_masks(masks[0]))
    for photo in (1, 2):
        own = [one["segmentation"]["counts"] for one in found if one["image_id"] == photo]
        assert sorted(own) == sorted(codes) and len(codes) > 3


def test_many_photos_are_simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sub_folders, "MAX_ENTRIES", 10)
    monkeypatch.setattr(sub_folders, "_WANTED_ENTRIES", 5)
    found = {name: many_photos.run_part(name, tmp_path, 40) for name in many_photos.PARTS}
    assert all(seconds >= 0 and mib > 10 for seconds, mib in found.values())
    assert sum(1 for _ in (tmp_path / "run" / "infer-cam" / "maps").rglob("*.npz")) == 40
    assert many_photos.largest_folder(tmp_path / "run" / "infer-cam") < 20
    assert len((tmp_path / "photos.jsonl").read_text().splitlines()) == 40
    table = many_photos._table({name: {40: taken} for name, taken in found.items()}, [40])
    assert len(table.splitlines()) == 2 + len(many_photos.PARTS)


@pytest.mark.slow
def test_the_parts_of_a_step_add_up() -> None:
    for train, network in step_parts.trainings(toy=True).values():
        parts = step_parts.Parts(skipped=0)
        whole, *others = step_parts.measure(train, network, 1, parts)
        assert len(parts.whole) == len(parts.read) == len(parts.update) == 2
        assert all(
            read > 0 and update > 0 and read + update < all_of_it
            for all_of_it, read, update in zip(parts.whole, parts.read, parts.update, strict=True)
        )
        assert sum(others) == pytest.approx(whole)
