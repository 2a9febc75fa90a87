"""Faults in the networks' parts."""

from __future__ import annotations

from campaigns.fault import Fault

FAULTS = [
    Fault(
        "nn.masked_resize.cells_inside",
        "any valid pixel makes a cell valid",
        "(share > 0.5)",
        "(share > 0)",
        ("nn/test_masked_resize.py",),
    ),
    Fault(
        "nn.masked_resize.resize",
        "cells beside padding are darkened",
        "_interpolated(maps * inside, size) * weight.reciprocal()",
        "_interpolated(maps * inside, size)",
        ("nn/test_masked_resize.py",),
    ),
    Fault(
        "nn.masked_resize._interpolated",
        "corners are not aligned",
        "align_corners=True",
        "align_corners=False",
        ("nn/test_masked_resize.py::test_without_padding_equals_torch",),
    ),
    Fault(
        "nn.masked_resize.resized_average",
        "the mean before resizing",
        "(maps.float() * rows[:, None] * columns).sum(dim=(2, 3))",
        "maps.float().mean(dim=(2, 3))",
        ("seam/test_present_channels.py::test_average_without_resizing",),
    ),
    Fault(
        "nn.repeatable_resize._weights",
        "corners are never aligned",
        "align_corners=align_corners",
        "align_corners=False",
        ("nn/test_repeatable_resize.py::test_values_and_gradients_equal_torchs",),
    ),
    Fault(
        "nn.fast_conv.FoldedBatchNorm.affine_map",
        "no epsilon",
        "self.running_var + self.eps",
        "self.running_var",
        ("nn/test_fast_conv.py",),
    ),
    Fault(
        "nn.fast_conv.FastConv2d.folded",
        "folded in training too",
        "if norm is None or norm.training:",
        "if norm is None:",
        ("nn/test_fast_conv.py",),
    ),
    Fault(
        "nn.backbones.resnet38.ResNet38.__init__",
        "the last stage is dilated by 2",
        "self.b7 = BottleneckBlock(2048, 4096, dilation=4",
        "self.b7 = BottleneckBlock(2048, 4096, dilation=2",
        ("reference/test_published_forward.py::test_maps_equal_the_authors",),
    ),
    Fault(
        "nn.backbones.resnet38.WideBlock.forward",
        "the shortcut skips the pre-activation",
        "self.conv_branch1(rectified) if self.changes_shape",
        "self.conv_branch1(x) if self.changes_shape",
        ("reference/test_published_forward.py::test_maps_equal_the_authors",),
    ),
    Fault(
        "nn.backbones.resnet38.ResNet38.frozen",
        "stage b2 trains",
        '("conv1a", "b2", "b2_1", "b2_2")',
        '("conv1a",)',
        ("nn/backbones/test_resnet38.py::test_frozen_layers",),
    ),
    Fault(
        "nn.official_checkpoints.SEAM_HEAD_NAMES",
        "a name is misspelled",
        '"f8_3.weight": "pcm.embed_low.weight"',
        '"f8_3.weight": "pcm.embed_low.weights"',
        ("reference/test_published_forward.py",),
    ),
    Fault(
        "nn.batch_padding.BatchPadding.__call__",
        "padded beyond the limit",
        "max(count, min(full, self._max_images))",
        "max(count, full)",
        ("nn/test_batch_padding.py",),
    ),
]
