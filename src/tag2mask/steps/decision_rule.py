"""The decision rule of an exported network, chosen on a run's validation photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from tag2mask.artifacts.handles import PreparedData
from tag2mask.classes import ClassSet
from tag2mask.data.index import Sample, group_of, read_classes, read_index, read_mask_paths
from tag2mask.data.photos import read_photo, read_sample_mask
from tag2mask.errors import DataError, ProblemsError
from tag2mask.evaluation.decision_rule import (
    FoundClass,
    UnreachableError,
    choose_minima,
    fit_temperature,
    group_pattern,
)
from tag2mask.metrics.class_rule import ClassRule
from tag2mask.runtime.threads import ordered_map
from tag2mask.segmentation.inference.export_spec import DecisionRule
from tag2mask.segmentation.inference.labeling import PhotoLabeler
from tag2mask.segmentation.standalone.decisions import NO_CLASS, SEPARATOR, calibrated, class_sums

MissRates = Mapping[str, float | None]
"""Target by class; ``""`` is that of all other classes, None: no decision about the class."""


class _Found(NamedTuple):
    """What the network finds in a photo.

    Attributes:
        sample: the photo.
        counts: pixels of each class, (C,).
        sums: sums of their confidences as bytes, (C,).
        pixels: pixels of the photo.
        right: labeled pixels of each confidence 0..255 that are right by the mask, (256,).
        wrong: those that are wrong.
    """

    sample: Sample
    counts: npt.NDArray[np.int64]
    sums: npt.NDArray[np.float64]
    pixels: int
    right: npt.NDArray[np.int64]
    wrong: npt.NDArray[np.int64]


def decision_rule(data: PreparedData, labeler: PhotoLabeler, miss_rates: MissRates) -> DecisionRule:
    """Choose the decision rule of a network on the validation photos of its data.

    Args:
        data: the data that the network was trained on.
        labeler: labels photos as the exported network does, with confidences of 8 bits.
        miss_rates: the targets.

    Raises:
        DataError: no validation photos, other classes, an unknown class in the targets, or targets
            that the photos can't show, with the lowest that they can; or an unreadable photo.
    """
    classes = labeler.segmenter.classes
    targets = check_targets(data, classes, miss_rates)
    samples = read_index(data.path, "val")
    masks = read_mask_paths(data.path)

    def find(sample: Sample) -> _Found:
        return _find(sample, labeler, masks.get(sample.id))

    found = [*ordered_map(find, samples, labeler.segmenter.caller_threads)]
    temperature, source = _temperature(found)
    rules = _class_rules(found, classes, targets, temperature or 1.0, data.path)
    groups = {sample.id: sample.group for sample in samples if sample.group}
    return DecisionRule(
        classes=rules,
        units="groups" if groups else "photos",
        temperature=temperature or 1.0,
        temperature_from=source,
        group=group_pattern(groups) if groups else None,
    )


def parse_miss_rates(texts: Sequence[str]) -> dict[str, float | None]:
    """Read targets given as ``RATE``, ``CLASS=RATE`` or ``CLASS=none``.

    Raises:
        DataError: not such a text, or not between 0 and 1.
    """
    found: dict[str, float | None] = {}
    for text in texts:
        name, _, rate = text.rpartition("=")
        if name and rate.strip().lower() == "none":
            found[name] = None
            continue
        try:
            found[name] = float(rate)
        except ValueError:
            found[name] = -1.0
        if not 0 < (found[name] or 0) < 1:
            raise DataError(
                f"{text!r} is not a miss rate",
                where="--miss-rate",
                fix="Give a share between 0 and 1 such as 0.05, or CLASS=0.05, or CLASS=none.",
            )
    return found


def check_targets(data: PreparedData, classes: ClassSet, miss_rates: MissRates) -> dict[str, float]:
    """Return the target of each class that is decided.

    Raises:
        DataError: no validation photos, other classes than the network's, or an unknown class.
    """
    if read_classes(data.path) != classes or not read_index(data.path, "val"):
        raise DataError(
            "a decision rule needs validation photos of the network's classes",
            where=data.path,
            fix="Name validation photos in the data and run again, or leave out --miss-rate.",
        )
    unknown = [name for name in miss_rates if name and name not in classes.names]
    if unknown:
        raise DataError(
            f"the network has no class {unknown[0]!r}",
            where="--miss-rate",
            fix=f"Its classes are {', '.join(classes.names)}.",
        )
    rates = {name: miss_rates.get(name, miss_rates.get("")) for name in classes.names}
    targets = {name: rate for name, rate in rates.items() if rate is not None}
    unwritable = [name for name in targets if SEPARATOR in name or name == NO_CLASS]
    if unwritable:
        raise DataError(
            f"class {unwritable[0]!r} can't be told from others in decisions.csv",
            where="--miss-rate",
            fix=f"Leave it out with --miss-rate '{unwritable[0]}=none', or rename the class.",
        )
    return targets


def _find(sample: Sample, labeler: PhotoLabeler, mask: Path | None) -> _Found:
    photo = read_photo(sample, at_least=labeler.decode_at(sample.size))
    labeled = labeler(photo, sample.size)
    confidence = labeled.confidence
    assert confidence is not None and confidence.dtype == np.uint8
    count = len(labeler.segmenter.classes)
    right = wrong = np.zeros(256, np.int64)
    if mask is not None:
        truth = read_sample_mask(sample, mask, count)
        known = (labeled.labels > 0) & (truth <= count)
        same = labeled.labels == truth
        right = np.bincount(confidence[known & same], minlength=256)
        wrong = np.bincount(confidence[known & ~same], minlength=256)
    counts, sums = class_sums(labeled.labels, confidence, count)
    return _Found(sample, counts, sums, labeled.labels.size, right, wrong)


def _temperature(
    found: Sequence[_Found],
) -> tuple[float | None, Literal["masks", "tags"] | None]:
    """Return the temperature and what it was fitted to: masks if there are any, else tags."""
    right, wrong = (sum(getattr(f, key) for f in found) for key in ("right", "wrong"))
    by_masks = fit_temperature(right, wrong)
    if by_masks is not None:
        return by_masks, "masks"
    events = np.zeros((2, 256))
    for photo in found:
        for tag in np.flatnonzero(photo.counts):
            sure = round(float(photo.sums[tag] / photo.counts[tag]))
            events[int(tag in photo.sample.tags), sure] += 1
    by_tags = fit_temperature(events[1], events[0])
    return by_tags, None if by_tags is None else "tags"


def _class_rules(
    found: Sequence[_Found],
    classes: ClassSet,
    targets: Mapping[str, float],
    temperature: float,
    where: Path,
) -> dict[str, ClassRule]:
    units = [group_of(photo.sample) for photo in found]
    kind = "groups" if any(photo.sample.group for photo in found) else "photos"
    areas = np.array([photo.counts / photo.pixels for photo in found])
    sure = np.array([calibrated(photo.sums, photo.counts, temperature) for photo in found])
    rules, problems = {}, []
    for tag, name in enumerate(classes.names):
        if name not in targets:
            continue
        tagged = np.array([tag in photo.sample.tags for photo in found])
        column = FoundClass(areas[:, tag], sure[:, tag], tagged, units)
        try:
            rules[name] = choose_minima(column, targets[name])
        except UnreachableError as error:
            problems.append(f"{name}: {_unreachable(error, targets[name], kind)}")
    if problems:
        raise ProblemsError(
            "the validation photos can't show these miss rates",
            problems,
            where=where,
            fix="Give each class a rate that they can (--miss-rate CLASS=RATE) or none "
            "(CLASS=none), or add validation photos.",
        )
    return rules


def _unreachable(error: UnreachableError, target: float, kind: str) -> str:
    if error.lowest is None:
        return "no validation photo shows it"
    lowest = np.ceil(error.lowest * 1000) / 1000
    return (
        f"{target:g} is less than {lowest:g}, the lowest that {error.units} {kind} with it can "
        f"show, of which any rule misses {error.missed}"
    )


def rule_lines(rule: DecisionRule) -> tuple[str, ...]:
    """Return the rule in a few lines, for the terminal and the model card."""
    calibration = (
        "as the network gives it: too few masks and tags to calibrate it"
        if rule.temperature_from is None
        else f"calibrated on {rule.temperature_from}, temperature {rule.temperature:g}"
    )
    groups = (
        "a photo's name doesn't say its group, so there are no decisions per group"
        if rule.group is None
        else f"the group in a photo's name is found by {rule.group}"
    )
    head = [f"decisions: confidence {calibration}"]
    head += [f"decisions: {groups}"] if rule.units == "groups" else []
    return (
        *head,
        *(
            f"decisions: {name}: area >= {each.area:.3g}, confidence >= {each.confidence:.3g}; "
            f"cross-fitted, {each.missed} of {each.with_class} {rule.units} missed, "
            f"{each.false_alarms} of {each.without_class} false alarms"
            for name, each in rule.classes.items()
        ),
    )
