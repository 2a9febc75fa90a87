"""Faults in the segmentation network: its data, losses, and the labeling of photos."""

from __future__ import annotations

from campaigns.fault import Fault

FAULTS = [
    Fault(
        "segmentation.dataset._cut",
        "label masks are resized bilinearly",
        "Image.Resampling.NEAREST",
        "Image.Resampling.BILINEAR",
        ("segmentation/test_dataset.py::test_labels_lie_on_what_they_name",),
    ),
    Fault(
        "segmentation.dataset._cut",
        "padding is background",
        "np.full((crop.side, crop.side), IGNORE, np.uint8)",
        "np.zeros((crop.side, crop.side), np.uint8)",
        ("segmentation/test_dataset.py::test_labels_lie_on_what_they_name",),
    ),
    Fault(
        "segmentation.losses.cross_entropy",
        "ignored pixels count in the mean",
        "Mean((loss * weights).sum(), weights.sum())",
        "Mean((loss * weights).sum(), torch.ones_like(weights).sum())",
        ("segmentation/test_losses.py::test_cross_entropy_equals_torchs",),
    ),
    Fault(
        "segmentation.losses.cross_entropy",
        "ignored pixels are background",
        "Mean((loss * weights).sum(), weights.sum())",
        "Mean(loss.sum(), weights.sum())",
        ("segmentation/test_losses.py::test_cross_entropy_equals_torchs",),
    ),
    Fault(
        "segmentation.deeplab_v1.DeepLabV1.forward",
        "no ReLU after the last batch norm",
        "F.relu(self.bn_fov2(self.conv_fov2(x)))",
        "self.bn_fov2(self.conv_fov2(x))",
        ("segmentation/test_deeplab_v1.py",),
    ),
    Fault(
        "segmentation.deeplab_v1.DILATION",
        "dilation 6",
        "12",
        "6",
        ("segmentation/test_deeplab_v1.py",),
    ),
    Fault(
        "segmentation.encoder_decoder._RATES_AT_16",
        "a narrower pyramid",
        "(6, 12, 18)",
        "(4, 8, 12)",
        (
            "segmentation/test_networks.py::test_pyramid_has_the_same_width_in_pixels_at_all_strides",
        ),
    ),
    Fault(
        "segmentation.torch_segmenter._softmax",
        "softmax over the rows",
        "logits.softmax(1)",
        "logits.softmax(2)",
        (
            "segmentation/test_torch_segmenter.py::test_softmax_is_over_the_classes_in_any_memory_layout",
        ),
    ),
    Fault(
        "segmentation.inference.refinement.mask_ids",
        "ids are shifted by one class",
        "mask_id(tag) for tag",
        "tag for tag",
        (
            "segmentation/inference/test_labeling.py::"
            "test_labels_are_restricted_to_background_and_tags",
        ),
    ),
    Fault(
        "segmentation.inference.segmenter.AveragedViews._forward",
        "flipped views are not flipped back",
        "maps[:, :, ::-1] if flip else maps",
        "maps",
        ("segmentation/inference/test_segmenter.py",),
    ),
    Fault(
        "segmentation.inference.segmenter.AveragedViews._images",
        "padding is black instead of the mean color",
        "np.zeros((len(views), *padded, 3), np.float32)",
        "np.tile(-self._shift_by, (len(views), *padded, 1))",
        ("segmentation/inference/test_segmenter.py",),
    ),
    Fault(
        "segmentation.standalone.maps.axis",
        "corners are aligned",
        "(np.arange(pixels) + 0.5) * (cells / pixels) - 0.5",
        "np.arange(pixels) * (max(cells - 1, 0) / max(pixels - 1, 1))",
        (
            "segmentation/inference/test_label_loops.py::test_labels_equal_the_argmax_of_the_enlarged_maps",
        ),
    ),
    Fault(
        "segmentation.inference.label_loops._enlarge",
        "a class that is largest only between cells is missed",
        "and best == argmax[bottom, left]\n",
        "and True\n",
        (
            "segmentation/inference/test_label_loops.py::test_labels_equal_the_argmax_of_the_enlarged_maps",
        ),
    ),
    Fault(
        "maps.tiles._ramp",
        "overlaps are not blended",
        "(np.arange(length, dtype=np.float32) + np.float32(0.5)) / np.float32(max(length, 1))",
        "np.ones(length, np.float32)",
        ("maps/test_tiles.py",),
    ),
    Fault(
        "segmentation.inference.labeling.PhotoLabeler._label_in_tiles",
        "tags do not restrict tiles",
        "lambda tile: self._tile(photo, grid, *tile, tags)",
        "lambda tile: self._tile(photo, grid, *tile, None)",
        ("segmentation/inference/test_labeling.py",),
    ),
    Fault(
        "segmentation.deeplab_v1.train_as_published",
        "batch norms learn their affine parameters",
        "module.requires_grad_(False)",
        "pass",
        ("segmentation/test_deeplab_v1.py",),
    ),
    Fault(
        "segmentation.deeplab_v1.PUBLISHED_MOMENTUM",
        "batch norms follow ten times as fast",
        "3e-4",
        "3e-3",
        ("segmentation/test_deeplab_v1.py",),
    ),
    Fault(
        "segmentation.deeplab_v1.train_as_published",
        "the classifier is initialized by its fan-in",
        'mode="fan_out"',
        'mode="fan_in"',
        ("segmentation/test_deeplab_v1.py",),
    ),
    Fault(
        "segmentation.inference.labeling.PhotoLabeler._take_labels",
        "tags do not restrict photos",
        "restrict_to_tags(maps, tags)",
        "restrict_to_tags(maps, None)",
        (
            "segmentation/inference/test_labeling.py::test_labels_are_restricted_to_background_and_tags",
        ),
    ),
    Fault(
        "segmentation.inference.labeling.PhotoLabeler._take_labels",
        "the CRF is left out",
        "photo.crf_image is not None and settings.crf is not None",
        "photo.crf_image is None",
        ("segmentation/inference/test_labeling.py::test_crf_follows_the_contours_of_the_photo",),
    ),
    Fault(
        "segmentation.inference.segmenter.AveragedViews.mean",
        "the views are summed",
        "np.float32(1 / self._views)",
        "np.float32(1)",
        (
            "segmentation/inference/test_labeling.py::test_complete_photo_equals_the_simple_pipeline",
        ),
    ),
    Fault(
        "segmentation.inference.segmenter._normalize",
        "the mean is not subtracted",
        "- shift_by[c]",
        "",
        ("segmentation/inference/test_segmenter.py",),
    ),
    Fault(
        "segmentation.inference.label_loops._channel_argmax",
        "the last of equal classes",
        "if value > largest:",
        "if value >= largest:",
        ("segmentation/inference/test_label_loops.py",),
    ),
    Fault(
        "maps.tiles.TileSpan.weights",
        "the end of a tile is not faded",
        "1 - _ramp(self.fall)",
        "1",
        ("maps/test_tiles.py",),
    ),
    Fault(
        "segmentation.inference.refinement.apply_crf",
        "absent classes always take part",
        "+ all_classes)",
        "+ 1)",
        ("segmentation/inference/test_labeling.py",),
    ),
]
