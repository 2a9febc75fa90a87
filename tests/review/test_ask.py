"""Which photos are asked for, and the estimate from random ones."""

from __future__ import annotations

import csv
import json
import shlex
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from reviewed_run import CLASSES, reviewed_run

from small_runs import invoke, one_rank, trained
from tag2mask.artifacts.handles import (
    CamMaps,
    Evaluation,
    Predictions,
    PreparedData,
    PseudoMaskFolder,
)
from tag2mask.data.corrections.decisions import Decision, Verdict
from tag2mask.data.corrections.folder import NO_CORRECTIONS, Corrections
from tag2mask.data.corrections.writing import CorrectionsWriter, open_corrections
from tag2mask.data.masks import read_mask
from tag2mask.errors import RunFolderError
from tag2mask.evaluation.random_looks import (
    mask_looked_at,
    not_decided,
    random_looks,
    read_samples,
)
from tag2mask.maps.cam_map import read_map, write_map
from tag2mask.pipeline import run as pipeline
from tag2mask.recipe.sections import Evaluate, Report
from tag2mask.review import ask as ask_module
from tag2mask.review import features as features_module
from tag2mask.review.ask import (
    Asked,
    ask,
    choose,
    first_photos,
    queue,
    random_sample,
    read_asked,
    representatives,
    write_asked,
)
from tag2mask.review.features import photo_features
from tag2mask.review.folder import ReviewFolder, ReviewPhoto, open_review
from tag2mask.review.order import Gain, gains
from tag2mask.seam.model import load_seam, save_seam
from tag2mask.steps.evaluate import evaluate
from tag2mask.steps.report import report


@pytest.fixture
def folder(tmp_path: Path) -> ReviewFolder:
    return open_review(reviewed_run(tmp_path, 24))


def test_uncertain_photos_gain_most(folder: ReviewFolder) -> None:
    found = gains(folder)
    # Of several tags the masks show one, which makes the photo uncertain, too.
    tagged = [photo for photo in folder.photos if len(photo.tags) == 1]
    certain = [found[p.id].uncertainty for p in tagged if int(p.id[-2:]) % 5 == 4]
    uncertain = [found[p.id].uncertainty for p in tagged if int(p.id[-2:]) % 5 == 0]
    assert max(certain) < min(uncertain)
    assert all(0 <= gain.total <= 1 for gain in found.values())


def test_an_evaluation_says_what_is_uncertain_and_which_tags_are_doubtful(tmp_path: Path) -> None:
    run = reviewed_run(tmp_path, 24)
    doubtful = next(photo for photo in open_review(run).photos if photo.tags).id
    file = run / "infer-cam" / "maps" / f"{doubtful}.npz"
    found = read_map(file)
    assert found.probabilities is not None
    write_map(file, replace(found, probabilities=np.zeros_like(found.probabilities)))
    evaluated(run)
    folder = open_review(run)
    lines = (run / "evaluate" / "photos.jsonl").read_text().splitlines()
    rows = {row["id"]: row for row in map(json.loads, lines)}
    scored = {photo: row["quality"] for photo, row in rows.items() if row["quality"] is not None}
    assert len(scored) > 10
    # The pseudo mask of a photo without a tag is right; the network's may not be.
    others = {photo: row["network_quality"] for photo, row in rows.items() if photo not in scored}
    scored |= {photo: score for photo, score in others.items() if score is not None}
    gained = gains(folder)
    for photo, score in scored.items():
        assert gained[photo].uncertainty == pytest.approx(1 - score)
    assert gained[doubtful].doubtful_tags == 1.0
    assert min(gain.doubtful_tags for gain in gained.values()) == 0.0
    (run / "evaluate" / "photos.jsonl").write_text('{"id": ["a"], "quality": 0.5}')
    with pytest.raises(RunFolderError, match="missing or damaged"):
        gains(folder)


def test_one_unsure_region_makes_a_photo_uncertain(folder: ReviewFolder) -> None:
    """The soft minimum over the pixels decides, not their mean."""
    unsure, dim, *rest = (photo.id for photo in folder.photos)
    network = replace(folder, maps=None, masks={"network": folder.masks["network"]})
    for photo in (unsure, dim, *rest):
        confidence = np.full((48, 64), 200 if photo == dim else 250, np.uint8)
        if photo == unsure:
            confidence[:12, :12] = 40
        path = folder.path / "predict" / "confidence" / f"{photo}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(confidence).save(path)
    found = gains(network)
    assert found[unsure].uncertainty > found[dim].uncertainty > found[rest[0]].uncertainty


def evaluated(run: Path) -> Evaluation:
    return evaluate(
        PreparedData.open(run / "prepare"),
        CamMaps.open(run / "infer-cam"),
        PseudoMaskFolder.open(run / "pseudo-masks"),
        Evaluate(),
        run / "evaluate",
        one_rank(),
        predictions=Predictions.open(run / "predict"),
    )


def test_the_demo_names_the_first_photos_and_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = reviewed_run(tmp_path, 12)
    result = pipeline.RunResult(run, {"evaluate": evaluated(run)})
    monkeypatch.setattr(pipeline, "demo", lambda out, on_step: {"SEAM": result})
    done = invoke("demo", "--out", run)
    assert done.exit_code == 0, done.output
    first = ", ".join(first_photos(run)[:3])
    command = shlex.join(["tag2mask", "review", str(run)])
    assert f"To correct masks, first those of {first}: {command}" in " ".join(done.output.split())


def test_photos_of_rare_classes_gain_more(folder: ReviewFolder) -> None:
    photos = [replace(photo, tags=("cat",)) for photo in folder.photos]
    photos[0] = replace(photos[0], tags=("bird", "cat"))
    photos[1] = replace(photos[1], tags=())
    found = gains(replace(folder, photos=tuple(photos)))
    assert [found[photo.id].rarity for photo in photos[:3]] == [1.0, 0.0, 1 / (len(photos) - 1)]


def test_photos_are_chosen_by_gain_and_some_at_random(folder: ReviewFolder) -> None:
    train = [photo.id for photo in folder.photos if photo.split == "train"]
    found = {photo.id: Gain(0.0, 0.0, 0.0) for photo in folder.photos}
    found |= {photo: Gain(1.0, 0.0, 0.0) for photo in train[:4]}
    sampled = [train[9]]
    asked = choose(folder, found, 5, features={}, sampled=sampled, decided=[train[0], train[9]])
    assert len(asked) == 5 and sum(one.at_random for one in asked) == 1
    assert {one.photo for one in asked} <= set(train[1:])
    assert not any(one.represents for one in asked)
    by_gain = {one.photo for one in asked if not one.at_random}
    assert len(by_gain & set(train[1:4])) >= 2
    assert choose(folder, found, 5, features={}) == choose(folder, found, 5, features={})
    assert len(choose(folder, found, 1000, features={})) == len(train)


def test_like_photos_are_not_asked_for_twice(folder: ReviewFolder) -> None:
    train = [photo.id for photo in folder.photos if photo.split == "train"]
    found = {photo.id: Gain(0.0, 0.0, 0.0) for photo in folder.photos}
    for place, photo in enumerate(train[:4]):
        found[photo] = Gain(1.0 - place / 100, 0.0, 0.0)
    vectors = [(1, 0, 0), (1, 0, 0.01), (0, 1, 0), (0, 0, 1)]
    features = {p: np.array(v, np.float32) for p, v in zip(train[:4], vectors, strict=True)}
    asked = choose(folder, found, 3, features=features)
    chosen = [one.photo for one in asked if one.represents]
    assert chosen == [train[1], train[2], train[3]]  # the first gain is represented by the second


def test_a_photo_that_represents_others_is_asked_for_before_a_worse_outlier() -> None:
    photos = [f"{number}" for number in range(8)]
    found = {photo: Gain(0.5, 0.0, 0.0) for photo in photos} | {"7": Gain(1.0, 0.0, 0.0)}
    around = np.random.default_rng(0).normal(0, 0.1, (8, 3))
    around[:3] += (1, 0, 0)
    around[3:7] += (0, 1, 0)
    around[7] += (0, 0, 1)
    features = dict(zip(photos, around.astype(np.float32), strict=True))
    first, second = representatives(photos, found, 2, features)
    assert first in "3456" and second in "012"  # the larger group first, and not photo 7
    covered = representatives(photos[:7], found, 1, features, known=["7", first])
    assert covered[0] in "012"
    alike = dict.fromkeys(photos, np.ones(3, np.float32))
    assert representatives(photos, found, 1, alike) == ["7"]
    assert len(set(representatives(photos, found, 20, features))) == 8


def test_of_many_photos_some_are_compared(
    folder: ReviewFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ask_module, "MOST_COMPARED", 6)
    compared: list[str] = []

    def features(_: Path, photos: list[ReviewPhoto]) -> dict[str, np.ndarray]:
        compared.extend(photo.id for photo in photos)
        return {photo.id: np.ones(2, np.float32) for photo in photos}

    monkeypatch.setattr(features_module, "photo_features", features)
    (folder.path / "train-cam").mkdir()
    (folder.path / "train-cam" / "model.safetensors").touch()
    train = [photo.id for photo in folder.photos if photo.split == "train"]
    decided, taught = train[:8], train[:7]
    verdicts = {photo: Decision(photo, "good" if photo in taught else "bad") for photo in decided}
    now = Corrections(folder.corrections, verdicts)
    asked = [one.photo for one in ask(folder, 10, corrections=now, random_share=0)]
    assert len(compared) == len(set(compared)) == 12 and not set(asked) & set(decided)
    chosen = set(compared) - set(decided)
    assert set(asked[:6]) == chosen and len(chosen) == 6
    found = gains(folder)
    others = sorted((found[photo].total for photo in set(train[8:]) - chosen), reverse=True)
    assert [found[photo].total for photo in asked[6:]] == others[:4]


def test_the_share_of_random_photos_is_chosen(folder: ReviewFolder) -> None:
    def at_random(*options: str) -> int:
        assert invoke("ask", folder.path, "--count", "10", *options).exit_code == 0
        return sum(one.at_random for one in read_asked(folder.corrections))

    assert at_random() == 2
    assert at_random("--random-share", "1") == 10
    assert at_random("--random-share", "0") == 0
    assert invoke("ask", folder.path, "--random-share", "1.5").exit_code == 2


def test_the_list_is_written_and_comes_first_on_the_page(folder: ReviewFolder) -> None:
    asked = ask(folder, 6)
    assert read_asked(folder.corrections) == asked
    with (folder.corrections / "asked.csv").open() as table:
        assert [row["photo"] for row in csv.DictReader(table)] == [one.photo for one in asked]
    written = (folder.corrections / "asked.csv").read_text().splitlines()
    last = asked[-1]
    assert written[0] == ",".join(asdict(last))
    assert written[-1] == ",".join(map(str, asdict(last).values()))
    order = queue(folder, gains(folder), asked)
    assert order[:6] == [one.photo for one in asked]
    assert sorted(order) == sorted(photo.id for photo in folder.photos)
    splits = {photo.id: photo.split for photo in folder.photos}
    assert [splits[photo] for photo in order] == sorted(splits[photo] for photo in order)
    (folder.corrections / "asked.json").write_text('{"photos": [{}]}')
    with pytest.raises(RunFolderError, match=r"asked\.json is damaged"):
        read_asked(folder.corrections)


def test_a_photo_in_the_table_is_no_formula(tmp_path: Path) -> None:
    asked = Asked("=HYPERLINK(1)", True, False, -0.3, 0.0, 0.0, 0.0)
    write_asked(tmp_path, [asked], [])
    assert read_asked(tmp_path) == [asked]
    row = (tmp_path / "asked.csv").read_text().splitlines()[1]
    assert row == "'=HYPERLINK(1),True,False,-0.3,0.0,0.0,0.0"


def look(folder: ReviewFolder, writer: CorrectionsWriter, photo: str, verdict: Verdict) -> None:
    """Decide about a photo's first mask as on the page; a drawn mask differs in its upper half."""
    file = folder.mask_file(photo, "pseudo mask")
    assert file is not None
    mask = read_mask(file, 3)
    if verdict == "corrected":
        mask[: len(mask) // 2] = 0
    decision = Decision(photo, verdict, looked_at=mask_looked_at(folder.first_masks, photo))
    writer.write(decision, mask if verdict in ("good", "corrected") else None)


def test_random_looks_estimate_the_masks(folder: ReviewFolder) -> None:
    asked = ask(folder, 10, random_share=0.8)
    sampled = [one.photo for one in asked if one.at_random]
    verdicts: list[Verdict] = ["good", "corrected"] * 3 + ["bad", "unsure"]
    assert read_samples(folder.corrections) == [
        sorted(sampled, key=read_samples(folder.corrections)[0].index)
    ]
    with open_corrections(folder.corrections, CLASSES) as writer:
        assert random_looks(folder.first_masks, 3, NO_CORRECTIONS) is None
        for number, (photo, verdict) in enumerate(zip(sampled, verdicts, strict=True)):
            looks = random_looks(folder.first_masks, 3, writer.corrections)
            assert looks is not None and looks.miou is None and looks.undecided == 8 - number
            look(folder, writer, photo, verdict)
        looks = random_looks(folder.first_masks, 3, writer.corrections)
    assert looks is not None and looks.miou is not None and looks.interval is not None
    assert (looks.photos, looks.accepted, looks.without, looks.undecided) == (6, 3, 2, 0)
    assert looks.interval[0] <= looks.miou <= looks.interval[1] and 0.5 < looks.miou < 1
    low, high = (round(100 * end) for end in looks.interval)
    assert f" % (95 % interval {low}–{high}) from 6 random looks" in looks.text
    page = report(folder.path, Report(), folder.path / "report").path / "index.html"
    assert looks.text.replace("'", "&#39;") in page.read_text()
    printed = " ".join(invoke("ask", folder.path, "--count", "3").output.split())
    text = "from 6 random looks; 3 accepted as they are; 2 more, such as bad ones, not compared"
    assert f"{text}; the last list counts once 1 more random photo is decided" in printed
    assert "3 photos to look at, 1 at random" in printed
    assert "It replaces an earlier list of 10 photos, 8 of them decided" in printed
    review = shlex.join(["tag2mask", "review", str(folder.path)])
    assert f"Look at them: {review}" in printed


def test_random_looks_that_are_all_alike_have_no_interval(folder: ReviewFolder) -> None:
    asked = ask(folder, 4, random_share=1)
    with open_corrections(folder.corrections, CLASSES) as writer:
        for one in asked:
            look(folder, writer, one.photo, "good")
        looks = random_looks(folder.first_masks, 3, writer.corrections)
    assert looks is not None and (looks.miou, looks.interval) == (1, None)
    assert "100.0 % from 4 random looks; 4 accepted as they are" in looks.text


def test_random_looks_are_of_all_photos_whatever_was_decided_before(folder: ReviewFolder) -> None:
    train = [photo.id for photo in folder.photos if photo.split == "train"]
    first = random_sample(folder, 6, [])
    with open_corrections(folder.corrections, CLASSES) as writer:
        for photo in first[:3]:  # they were chosen before, as their masks are bad
            look(folder, writer, photo, "corrected")
        asked = ask(folder, 10, corrections=writer.corrections, random_share=0.6)
        assert read_samples(folder.corrections) == [first]
        shown = {one.photo for one in asked if one.at_random}
        assert shown == set(first[3:]) and len(asked) == 10
        looks = random_looks(folder.first_masks, 3, writer.corrections)
        assert looks is not None and looks.miou is None, "bad ones alone would be counted"
        for photo in first[3:]:
            look(folder, writer, photo, "good")
        looks = random_looks(folder.first_masks, 3, writer.corrections)
        assert looks is not None and (looks.photos, looks.accepted) == (6, 3)
        ask(folder, 5, corrections=writer.corrections, random_share=0.4)
        second = read_samples(folder.corrections)[1]
        assert len(second) == 2 and not set(second) & set(first) and set(second) <= set(train)
        assert random_looks(folder.first_masks, 3, writer.corrections) == replace(
            looks, undecided=2
        )


def test_random_looks_count_for_the_masks_that_were_looked_at(folder: ReviewFolder) -> None:
    asked = [one.photo for one in ask(folder, 4, random_share=1)]
    other = replace(folder, masks={"network": folder.masks["network"]})
    with open_corrections(folder.corrections, CLASSES) as writer:
        for photo in asked:
            look(folder, writer, photo, "corrected")
        assert random_looks(folder.first_masks, 3, writer.corrections) is not None
        ask(other, 4, corrections=writer.corrections, random_share=1)
        looks = random_looks(other.first_masks, 3, writer.corrections)
        assert looks is not None and looks.miou is None and looks.undecided > 0
        again = [p for p in asked if mask_looked_at(other.first_masks, p)][:1]
        corrections = writer.corrections
        assert not_decided(again, other.first_masks, corrections) == again
        seen = replace(corrections.decisions[again[0]], looked_at="")
        writer.write(seen)  # such as by hand
        assert not_decided(again, folder.first_masks, corrections) == again


def test_the_whole_list_is_named_and_why(folder: ReviewFolder) -> None:
    printed = invoke("ask", folder.path, "--count", "14").output
    assert "and 4 more" in printed and "at random" in printed and "gain" in printed
    assert f"The whole list: {folder.corrections / 'asked.json'}, asked.csv" in printed
    assert "replaces" not in printed
    trained(PreparedData.open(folder.path / "prepare"), folder.path / "train-cam")
    printed = invoke("ask", folder.path, "--count", "8").output
    assert "represents others" in printed and "more\n" not in printed
    assert "It replaces an earlier list of 14 photos, 0 of them decided" in printed
    (folder.corrections / "asked.json").write_text("{")
    assert invoke("ask", folder.path, "--count", "8").exit_code == 0


def test_features_are_those_of_the_cam_network(folder: ReviewFolder, tmp_path: Path) -> None:
    model = trained(PreparedData.open(folder.path / "prepare"), folder.path / "train-cam")
    first, second, *_ = folder.photos
    (tmp_path / "broken.png").write_bytes(b"")
    broken = replace(second, id="broken", image=tmp_path / "broken.png")
    found = photo_features(model.file, [first, second, broken])
    again = photo_features(model.file, [second])
    assert set(found) == {first.id, second.id}
    assert np.array_equal(found[second.id], again[second.id])
    assert not np.allclose(found[first.id], found[second.id])
    assert len(ask(folder, 4)) == 4
    net, spec = load_seam(model.file)
    net.pcm = torch.nn.Linear(2, 3)
    own = replace(spec, pcm=True, pcm_module="somebody_elses:Part")
    save_seam(tmp_path / "model.safetensors", net, own)
    without = photo_features(tmp_path / "model.safetensors", [second])
    assert np.array_equal(without[second.id], again[second.id]), "no consent to import is needed"
