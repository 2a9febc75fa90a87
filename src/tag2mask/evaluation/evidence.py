"""Evidence of how good a photo's masks are, computed without ground truth.

Each kind is in [0, 1], larger for better masks. `photo_qualities` makes a score of the pseudo mask
and one of the network's mask of them. Which kinds each is made of was chosen on photos with ground
truth (``docs/results/voc-cpu.md``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tag2mask.classes import BACKGROUND, mask_id
from tag2mask.maps.background_threshold import labels_from_scores
from tag2mask.maps.cam_map import CamMap
from tag2mask.metrics.confusion import Confusion, Labels
from tag2mask.metrics.quality import quality_scores, soft_minimum

QUALITY, NETWORK_QUALITY = "quality", "network_quality"
"""Keys of the scores of the pseudo and of the network's mask in ``photos.jsonl``."""


def photo_qualities(evidence: Sequence[Mapping[str, float]]) -> list[dict[str, float | None]]:
    """Return the quality scores of photos, `QUALITY` and `NETWORK_QUALITY`.

    Each is in (0, 1), the photo's mean rank among the others by the kinds of evidence for that
    mask; None for a photo without any (`tag2mask.metrics.quality.quality_scores`).

    Args:
        evidence: of each photo, by kind.
    """
    scores = zip(
        quality_scores([pseudo_mask_evidence(own) for own in evidence]),
        quality_scores([network_mask_evidence(own) for own in evidence]),
        strict=True,
    )
    return [{QUALITY: pseudo, NETWORK_QUALITY: network} for pseudo, network in scores]


def pseudo_mask_evidence(evidence: Mapping[str, float]) -> dict[str, float]:
    """Return the evidence that ranks pseudo masks: certainty, and agreement with another mask.

    The network's mask replaces the one from before the walk, which says less.
    """
    other = "tag_agreement" if "tag_agreement" in evidence else "walk_agreement"
    return {kind: evidence[kind] for kind in ("certainty", other) if kind in evidence}


def network_mask_evidence(evidence: Mapping[str, float]) -> dict[str, float]:
    """Return the evidence that ranks the network's masks: the agreement, with every wrong class."""
    return {kind: evidence[kind] for kind in ("agreement",) if kind in evidence}


def map_evidence(cam_map: CamMap, threshold: float | None) -> dict[str, float]:
    """Return the evidence in the maps that a pseudo mask was made from; none without a tag.

    ``certainty``: the difference between the largest and the second largest of (1 - max, scores),
    averaged over the cells of each class and of the background, and of these averages the soft
    minimum: a large background hides no class.

    Args:
        cam_map: the maps.
        threshold: background threshold in use; None: unknown, then there is no evidence.
    """
    if not cam_map.tags or threshold is None:
        return {}
    labels = _labels(cam_map, threshold)
    background = np.clip(1.0 - cam_map.scores.max(axis=0, keepdims=True), 0.0, None)
    ordered = np.sort(np.concatenate([background, cam_map.scores]), axis=0)
    lead = ordered[-1] - ordered[-2]
    regions = [labels == label for label in (0, *map(mask_id, cam_map.tags))]
    leads = [float(lead[region].mean()) if region.any() else 0.0 for region in regions]
    return {"certainty": min(1.0, max(0.0, soft_minimum(np.array(leads))))}


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
    confusion = Confusion.empty(len(before.probabilities))
    confusion.add(pseudo[centers], labels)
    return {"walk_agreement": confusion.miou()} if confusion.counts.any() else {}


def network_evidence(
    pseudo: Labels, network: Labels, tags: tuple[int, ...], classes: int
) -> dict[str, float]:
    """Return the agreement of the network's and the pseudo mask.

    - ``agreement``: their mean IoU over the background, the tags and all classes in either mask. A
      tag that neither mask shows counts as 0, as does the background where both masks are full of
      objects (which is rarely right), and a class that only one of them shows.
    - ``tag_agreement``: the same over the background and the tags; none without a tag. What else
      the network sees says nothing about the pseudo mask.

    Args:
        pseudo: mask ids uint8 (H, W), 255 = ignored; if everywhere, there is no evidence.
        network: mask ids uint8 (H, W).
        tags: the tags of the pseudo mask.
        classes: number of foreground classes.
    """
    confusion = Confusion.empty(classes)
    confusion.add(pseudo, network)
    if not confusion.counts.any():
        return {}
    iou = confusion.iou()
    expected = {BACKGROUND, *map(mask_id, tags)}
    shown = np.flatnonzero(~np.isnan(iou)).tolist()
    iou = np.nan_to_num(iou)
    found = {"agreement": float(iou[sorted(expected.union(shown))].mean())}
    return found | ({"tag_agreement": float(iou[sorted(expected)].mean())} if tags else {})


def _labels(cam_map: CamMap, threshold: float) -> Labels:
    """Return the labels at the stride of the maps."""
    shape = (cam_map.scores.shape[1], cam_map.scores.shape[2])
    return labels_from_scores(cam_map.scores, cam_map.tags, threshold, shape)
