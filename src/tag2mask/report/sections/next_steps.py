"""Section that names what is wrong with the masks, what to change, and what that computes again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from tag2mask.artifacts.handles import (
    WITHOUT_TAGGED_PIXELS,
    CamModel,
    Evaluation,
    Handle,
    PseudoMaskFolder,
    SegmenterModel,
    section_name,
)
from tag2mask.artifacts.step_table import REPORTED_STEPS
from tag2mask.evaluation.records import EvaluationScores, SplitScores
from tag2mask.evaluation.wording import mask_name, percent, with_unit
from tag2mask.report.page import Advice, Block, Note, PageSection
from tag2mask.report.run_folder import RunFolder
from tag2mask.report.sections.scored_runs import ScoredRun
from tag2mask.runtime.durations import format_duration

FINDINGS = 12
"""Findings shown, the gravest first."""
WRONG_PIXELS = 0.2
"""Share of a class's pixels from which its masks are called too large or too small."""
BALANCED = 2.0
"""Ratio up to which a class has as many pixels too many as missing: no threshold helps."""
POOR_TAGS = 0.7
"""Average precision below which a class was not learned."""
MISSED_PHOTOS, FALSE_ALARMS = 0.2, 0.1
"""Rates from which the network misses a class, or shows it where it isn't."""
BETTER_THRESHOLD = 0.02
"""Gain of mIoU from which another background threshold is worth it."""
STEP = 0.1
"""How far a proposed threshold is from the one in use."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, and what to do about it.

    Attributes:
        text: what is wrong, with its figure.
        change: what to change.
        step: the first step that this computes again; None: no step.
        weight: how grave it is, in [0, 1].
    """

    text: str
    change: str
    step: type[Handle] | None
    weight: float


def next_steps_section(run: RunFolder, scored: ScoredRun) -> PageSection:
    """Return the findings about the main run, the gravest first."""
    scores = scored.scores
    if scores is None:
        return PageSection("next-steps", "Next steps", ())
    found = sorted(_findings(run, scores), key=lambda finding: -finding.weight)
    shown = found[:FINDINGS]
    rows = tuple((finding.text, finding.change, _cost(run, finding.step)) for finding in shown)
    more = len(found) - len(shown)
    caption = (
        "Settings are given with --set; tag2mask run --data DATA --from RUN --out RUN2 --set ... "
        "keeps this run. Times are those of this run: the first step, and all after it."
    )
    advice = Advice(
        rows, caption + (f" {more:,} lesser findings are left out." if more > 0 else "")
    )
    nothing = Note("Nothing stands out in the figures. Look at the worst photos below.")
    blocks: tuple[Block, ...] = (advice if rows else nothing,)
    return PageSection(
        "next-steps",
        "Next steps",
        blocks,
        intro="What the figures below say first. Change one thing at a time and compare. More on "
        'the page "Symptoms" of the documentation.',
    )


def _cost(run: RunFolder, step: type[Handle] | None) -> str:
    """Return the time of a step, and that of all steps after it, as the run took it."""
    done = [kind.step for kind in REPORTED_STEPS if kind.step in run.manifests]
    if step is None or step.step not in done:
        return ""
    first, *rest = (run.manifests[name].seconds for name in done[done.index(step.step) :])
    return f"{step.step} {format_duration(first)} + {format_duration(sum(rest))}"


def _findings(run: RunFolder, scores: EvaluationScores) -> Iterator[Finding]:
    masked = [split for split in scores.splits if split.masks is not None]
    # No setting of the run changes masks that it was given.
    if masked and scores.masks_made_by is None:
        most = max(masked, key=lambda split: split.masks.photos if split.masks else 0)
        yield from _mask_findings(run, scores, most)
        yield from _threshold_finding(most)
    elif not any(split.masks or split.network for split in scores.splits):
        yield Finding(
            "No photo has a mask, so no figure says how good the masks are",
            'draw masks of 20 photos: page "Can I trust my masks?"',
            Evaluation,
            0.5,
        )
    last = scores.splits[-1]
    yield from _tag_findings(run, last)
    yield from _rate_findings(run, last)
    yield from _doubt_finding(scores)
    yield from _empty_finding(run)


def _mask_findings(
    run: RunFolder, scores: EvaluationScores, split: SplitScores
) -> Iterator[Finding]:
    """Yield classes whose pseudo masks hold background, or leave out much of the objects."""
    assert split.masks is not None
    counts = np.array(split.masks.confusion, np.float64)
    for c, name in enumerate(scores.classes[1:], 1):
        inside, own = counts[:, c].sum(), counts[c].sum()
        if not inside or not own:
            continue
        spilled, missing = float(counts[0, c] / inside), float(counts[c, 0] / own)
        worse = max(spilled, missing)
        if worse < WRONG_PIXELS:
            continue
        own = split.class_thresholds
        used = own.get(name, split.background_threshold)
        if min(spilled, missing) * BALANCED >= worse:
            yield Finding(
                f"masks of {name} hold {percent(spilled, 0)} % background and miss "
                f"{percent(missing, 0)} % of it: a threshold helps little, the maps are elsewhere",
                f"more photos of {name}, and of its surroundings without it, or longer training: "
                + _longer(run, CamModel),
                CamModel,
                worse,
            )
        elif spilled > missing:
            yield Finding(
                f"masks of {name} hold {percent(spilled, 0)} % background",
                "raise its threshold" + _threshold(name, used, STEP, own),
                PseudoMaskFolder,
                worse,
            )
        else:
            yield Finding(
                f"masks of {name} miss {percent(missing, 0)} % of it",
                "lower its threshold" + _threshold(name, used, -STEP, own),
                PseudoMaskFolder,
                worse,
            )


def _threshold(name: str, used: float | None, step: float, own: Mapping[str, float]) -> str:
    """Return the setting of a class's threshold as a shell takes it; empty if ``used`` is unknown.

    Args:
        name: the class.
        used: its threshold now.
        step: change of the threshold.
        own: thresholds of single classes, which stay.
    """
    if used is None:
        return ""
    value = round(min(0.99, max(0.01, used + step)), 2)
    key = "pseudo_masks.class_thresholds"
    if "." in name or "=" in name:  # would be a part of the key, so all thresholds are given
        setting = f"{key}={json.dumps({**own, name: value}, ensure_ascii=False)}"
    else:
        setting = f"{key}.{name}={value:g}"
    return f" ({used:.2g} now): {_shell_word(setting)}"


def _shell_word(text: str) -> str:
    """Return a text as one word of a shell; where it can be, also of Windows's."""
    if shlex.quote(text) == text or set(text) & set('"$`\\!'):
        return shlex.quote(text)
    return f'"{text}"'


def _longer(run: RunFolder, model: type[Handle]) -> str:
    """Return the setting that doubles the epochs of a training."""
    section = section_name(model.step)
    manifest = run.manifests.get(model.step)
    epochs = manifest.section.get("epochs") if manifest is not None else None
    return f"{section}.epochs={2 * epochs}" if isinstance(epochs, int) else f"{section}.epochs"


def _threshold_finding(split: SplitScores) -> Iterator[Finding]:
    """Yield that another common threshold is better, where one threshold made the masks."""
    if split.masks is None or split.curve is None or split.background_threshold is None:
        return
    used, best = split.masks.miou, split.curve.best_miou
    if used is None or best is None or split.class_thresholds:
        return
    if best - used >= BETTER_THRESHOLD:
        yield Finding(
            f"the background threshold {split.background_threshold:.2g} gives "
            f"{with_unit(used)} mIoU, {split.curve.best_threshold:.2g} would give "
            f"{with_unit(best)} on the same masks",
            "calibrate it on some of them: pseudo_masks.threshold_from=calibrated",
            PseudoMaskFolder,
            min(1.0, 5 * (best - used)),
        )


def _tag_findings(run: RunFolder, split: SplitScores) -> Iterator[Finding]:
    """Yield classes that the classifier has not learned."""
    for own in split.tags.classes if split.tags is not None else ():
        precision = own.average_precision
        if precision is not None and precision < POOR_TAGS:
            yield Finding(
                f"the classifier knows {own.name} poorly: average precision "
                f"{with_unit(precision)} ({split.split}, {own.photos:,} photos)",
                f"check its tags, add photos of {own.name}, or train longer: "
                + _longer(run, CamModel),
                CamModel,
                1.0 - precision,
            )


def _rate_findings(run: RunFolder, split: SplitScores) -> Iterator[Finding]:
    """Yield classes that the network misses, or shows where they aren't."""
    for own in split.rates.classes if split.rates is not None else ():
        missed = own.missed / own.tagged if own.tagged else 0.0
        alarms = own.false_alarms / own.untagged if own.untagged else 0.0
        if missed >= MISSED_PHOTOS:
            yield Finding(
                f"the network misses {own.name} in {own.missed:,} of {own.tagged:,} photos "
                f"({split.split})",
                f"if the {mask_name(run.masks_made_by, several=True)} show it, train the network "
                "longer: " + _longer(run, SegmenterModel),
                SegmenterModel,
                missed,
            )
        if alarms >= FALSE_ALARMS:
            yield Finding(
                f"the network shows {own.name} in {own.false_alarms:,} of {own.untagged:,} photos "
                f"without it ({split.split})",
                f"more photos without {own.name}, or a decision rule: tag2mask export --miss-rate",
                None,
                alarms,
            )


def _doubt_finding(scores: EvaluationScores) -> Iterator[Finding]:
    doubts = sum(len(split.doubtful_tags) for split in scores.splits)
    photos = sum(split.photos for split in scores.splits)
    if doubts:
        yield Finding(
            f"tags that look wrong or missing: {doubts:,}",
            "correct them (evaluate/doubtful_tags.csv), then tag2mask run --update: the trained "
            "networks stay, and only changed photos are computed again",
            None,
            min(1.0, doubts / photos),
        )


def _empty_finding(run: RunFolder) -> Iterator[Finding]:
    manifest = run.manifests.get(PseudoMaskFolder.step)
    empty = 0 if manifest is None else manifest.counts.get(WITHOUT_TAGGED_PIXELS, 0)
    if manifest is not None and empty:
        yield Finding(
            f"masks without any pixel of the photo's tags: {empty:,} (listed under Times)",
            "check these tags; if they are right, lower pseudo_masks.background_threshold (with "
            "pseudo_masks.threshold_from=fixed)",
            PseudoMaskFolder,
            min(1.0, empty / max(1, manifest.counts.get("photos", empty))),
        )
