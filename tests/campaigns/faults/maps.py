"""Faults in the stored maps and the background."""

from __future__ import annotations

from campaigns.fault import Fault

FAULTS = [
    Fault(
        "maps.cam_map._packed",
        "scores are rounded down",
        "np.rint(scores * 255.0)",
        "np.floor(scores * 255.0)",
        ("maps/test_cam_map.py::test_round_trip",),
    ),
    Fault(
        "maps.cam_map.CamMap.full_scores",
        "corners are aligned",
        "align_corners=False",
        "align_corners=True",
        ("maps/test_cam_map.py",),
    ),
    Fault(
        "maps.background_threshold.with_background",
        "the background is not raised to alpha",
        "rest**exponent",
        "rest",
        ("maps/test_background_threshold.py",),
    ),
    Fault(
        "maps.background_threshold.against_background",
        "half of the total",
        "total = background + classes.max(axis=0, initial=0.0)",
        "total = background + classes.sum(axis=0)",
        ("maps/test_background_threshold.py",),
    ),
    Fault(
        "maps.background_threshold.labels_from_scores",
        "a tie with the threshold is foreground",
        "best > (limits",
        "best >= (limits",
        ("maps/test_background_threshold.py",),
    ),
    Fault(
        "maps.background_threshold.labels_from_scores",
        "masks hold tag ids",
        "mask_id(tag) for tag",
        "tag for tag",
        ("maps/test_background_threshold.py",),
    ),
    Fault(
        "maps.background_threshold.estimate_background_threshold",
        "lower edges of the bins",
        "np.arange(1, HISTOGRAM_BINS + 1)",
        "np.arange(HISTOGRAM_BINS)",
        ("maps/test_background_threshold.py",),
    ),
    Fault(
        "maps.threshold_sources.estimated_threshold",
        "estimated on validation photos",
        'photos.splits.get("train")',
        'photos.splits.get("val")',
        ("steps/test_pseudo_masks.py::test_estimate_uses_only_training_maps",),
    ),
    Fault(
        "maps.mapped_photos.MappedPhotos.read",
        "maps of other tags are accepted",
        "if tags_known and cam_map.tags != sample.tags:",
        "if tags_known and len(cam_map.tags) != len(sample.tags):",
        (
            "steps/test_affinity_labels.py::"
            "test_maps_of_another_photo_of_that_size_or_of_other_tags_are_rejected",
        ),
    ),
    Fault(
        "maps.background_threshold.alpha_from_threshold",
        "another base",
        "math.log1p(-threshold)",
        "math.log(1 + threshold)",
        ("maps/test_background_threshold.py",),
    ),
    Fault(
        "maps.threshold_sources.drawn_masked_photos",
        "the first masked photos instead of drawn ones",
        "random.Random(CALIBRATION_SEED).sample(masked, min(count, len(masked)))",
        "masked[:count]",
        ("steps/test_pseudo_masks.py::test_calibration_photos_are_drawn_and_always_the_same",),
    ),
]
