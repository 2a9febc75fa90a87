"""Evidence of how good a photo's masks are, computed without ground truth.

Each kind is in [0, 1], larger for better masks; `tag2mask.metrics.quality` makes a score of them.
"""

from __future__ import annotations

import numpy as np

from tag2mask.classes import mask_id
from tag2mask.maps.background_threshold import labels_from_scores
from tag2mask.maps.cam_map import CamMap
from tag2mask.metrics.confusion import Confusion, Labels
from tag2mask.metrics.quality import soft_minimum

THRESHOLD_STEP = 0.2
"""How far the two thresholds of the stability are from the one in use."""


def map_evidence(cam_map: CamMap, threshold: float | None) -> dict[str, float]:
    """Return the evidence in the maps that a pseudo mask was made from; none without a tag.

    - ``tag_probability``: the lowest of the classifier's probabilities of the tags.
    - ``certainty``: the difference between the largest and the second largest of (1 - max, scores),
      averaged over the cells of each class and of the background, and of these averages the soft
      minimum: a large background hides no class.
    - ``stability``: IoU of the labels at thresholds `THRESHOLD_STEP` lower and higher.

    Args:
        cam_map: the maps.
        threshold: background threshold in use; None: unknown, then there is only the first kind.
    """
    if not cam_map.tags:
        return {}
    found = {"tag_probability": float(cam_map.probabilities[list(cam_map.tags)].min())}
    if threshold is None:
        return found
    low, labels, high = (
        _labels(cam_map, float(np.clip(threshold + step, 0.0, 1.0)))
        for step in (-THRESHOLD_STEP, 0.0, THRESHOLD_STEP)
    )
    background = np.clip(1.0 - cam_map.scores.max(axis=0, keepdims=True), 0.0, None)
    ordered = np.sort(np.concatenate([background, cam_map.scores]), axis=0)
    lead = ordered[-1] - ordered[-2]
    regions = [labels == label for label in (0, *map(mask_id, cam_map.tags))]
    leads = [float(lead[region].mean()) if region.any() else 0.0 for region in regions]
    return found | {
        "certainty": min(1.0, max(0.0, soft_minimum(np.array(leads)))),
        "stability": _mean_iou(low, high, len(cam_map.probabilities)),
    }


def walk_evidence(before: CamMap, threshold: float, pseudo: Labels) -> dict[str, float]:
    """Return the agreement of the maps from before the walk with the pseudo mask.

    Args:
        before: the maps.
        threshold: their background threshold.
        pseudo: mask ids uint8 (H, W), 255 = ignored.
    """
    if not before.tags:
        return {}
    labels = _labels(before, threshold)
    (rows, columns), (height, width) = labels.shape, pseudo.shape
    centers = np.ix_(
        ((np.arange(rows) + 0.5) * height / rows).astype(int),
        ((np.arange(columns) + 0.5) * width / columns).astype(int),
    )
    return _defined("walk_agreement", _mean_iou(pseudo[centers], labels, len(before.probabilities)))


def network_evidence(
    pseudo: Labels, network: Labels, tags: tuple[int, ...], classes: int
) -> dict[str, float]:
    """Return the agreement of the network's and the pseudo mask.

    Args:
        pseudo: mask ids uint8 (H, W), 255 = ignored.
        network: mask ids uint8 (H, W).
        tags: the tags of the pseudo mask.
        classes: number of foreground classes.
    """
    confusion = Confusion.empty(classes)
    confusion.add(pseudo, network)
    iou = np.nan_to_num(confusion.iou())
    found = _defined("agreement", confusion.miou())
    return found | (
        {"tag_agreement": float(min(iou[mask_id(tag)] for tag in tags))} if tags else {}
    )


def _labels(cam_map: CamMap, threshold: float) -> Labels:
    """Return the labels at the stride of the maps."""
    shape = (cam_map.scores.shape[1], cam_map.scores.shape[2])
    return labels_from_scores(cam_map.scores, cam_map.tags, threshold, shape)


def _mean_iou(first: Labels, second: Labels, classes: int) -> float:
    confusion = Confusion.empty(classes)
    confusion.add(first, second)
    return confusion.miou()


def _defined(kind: str, value: float) -> dict[str, float]:
    """Return the evidence, or none if a mask is ignored everywhere."""
    return {} if np.isnan(value) else {kind: value}
