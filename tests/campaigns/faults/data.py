"""Faults in the reading of photos, masks and tags."""

from __future__ import annotations

from campaigns.fault import Fault

FAULTS = [
    Fault(
        "formats.pixels.palette_image.palette_image",
        "ignored pixels have the color of the background",
        "palette[IGNORE] = IGNORE_COLOR",
        "palette[IGNORE] = 0",
        ("data/test_masks.py::test_round_trip",),
    ),
    Fault(
        "data.masks._check_values",
        "values that are not classes are accepted",
        "0 <= v <= num_classes or v == IGNORE",
        "0 <= v <= IGNORE",
        ("data/test_masks.py",),
    ),
    Fault(
        "data.photos.read_sample_mask",
        "masks of another size are accepted",
        "if mask.shape != sample.size:",
        "if mask.ndim != len(sample.size):",
        ("segmentation/test_dataset.py::test_bad_labels_are_named_in_their_batch",),
    ),
    Fault(
        "data.images._decoded",
        "turned photos stay on their side",
        "turned(to_rgb(image), orientation)",
        "to_rgb(image)",
        ("data/test_images.py::test_orientation_is_applied",),
    ),
    Fault(
        "data.images._decoded",
        "photos are decoded too small",
        "image.draft(None, (at_least, 1) if wide else (1, at_least))",
        "image.draft(None, (at_least // 2, 1) if wide else (1, at_least // 2))",
        ("data/test_images.py::test_draft_decodes_smaller_but_never_below",),
    ),
    Fault(
        "data.prepare.measure.listed_sample",
        "tags in the order of the table",
        "tuple(sorted({names.index(tag) for tag in entry.tags if tag in names}))",
        "tuple(names.index(tag) for tag in entry.tags if tag in names)",
        ("steps/test_prepare.py::test_update_takes_changes_in_and_reads_only_those",),
    ),
    Fault(
        "data.prepare.index_changes.index_changes",
        "changed photos are not noticed",
        "a.stamp != b.stamp and",
        "a.size != b.size and",
        ("steps/test_prepare.py::test_copies_without_their_times_are_told_from_other_photos",),
    ),
    Fault(
        "classes.mask_id",
        "mask ids begin with 0",
        "tag_id + 1",
        "tag_id",
        ("test_classes.py::test_the_numberings_agree",),
    ),
    Fault(
        "classes.voc_palette",
        "red and blue are swapped",
        "rgb[channel] |=",
        "rgb[2 - channel] |=",
        ("test_classes.py",),
    ),
    Fault(
        "data.masks.write_confidence",
        "confidence is rounded down",
        "np.rint(confidence * 255)",
        "np.floor(confidence * 255)",
        (
            "steps/test_pseudo_masks.py::test_the_crf_refines_masks_and_their_confidence",
            "data/test_masks.py",
        ),
    ),
]
