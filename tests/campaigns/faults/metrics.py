"""Faults in the metrics."""

from __future__ import annotations

from campaigns.fault import Fault

FAULTS = [
    Fault(
        "metrics.bootstrap.ResampledTallies.add",
        "all pixels of a photo's classes count as right",
        "pixels[right], pixels, pixels",
        "truth[right], pixels, pixels",
        ("metrics/test_bootstrap.py",),
    ),
    Fault(
        "metrics.bootstrap.percentile_interval",
        "a class of one photo has an interval of no width",
        "if len(defined) < (1 - _MOST_UNDEFINED) * len(values):",
        "if not len(defined):",
        ("metrics/test_bootstrap.py",),
    ),
    Fault(
        "metrics.boundary_iou.BoundaryCounts.add",
        "void is counted",
        "counted = ~void",
        "counted = ~void | void",
        ("metrics/test_boundary_iou.py::test_pixels_of_void_never_count",),
    ),
    Fault(
        "metrics.boundary_iou.BoundaryCounts.add",
        "bands of other classes agree",
        "in_truth & in_prediction & (filled == prediction)",
        "in_truth & in_prediction",
        ("metrics/test_boundary_iou.py::test_pixels_of_void_never_count",),
    ),
    Fault(
        "metrics.boundary_iou.band_width",
        "a share of the height, not of the diagonal",
        "math.hypot(*size)",
        "size[0]",
        ("metrics/test_boundary_iou.py",),
    ),
    Fault(
        "metrics.confusion.Confusion.false_positives",
        "missed pixels instead of wrong ones",
        "self.counts.sum(axis=0)",
        "self.counts.sum(axis=1)",
        ("metrics/test_confusion.py",),
    ),
    Fault(
        "metrics.confusion.Confusion.over_activation",
        "the background takes part",
        "[BACKGROUND + 1 :]",
        "[BACKGROUND:]",
        ("metrics/test_confusion.py",),
    ),
    Fault(
        "metrics.confusion.mean_of_present",
        "absent classes count as 0",
        "values[~np.isnan(values)]",
        "np.nan_to_num(values)",
        ("metrics/test_confusion.py",),
    ),
    Fault(
        "metrics.threshold_curve.ThresholdCurve.confusion",
        "a score at the threshold is foreground",
        "won: Int64 = self.counts[:, :, index + 1 :].sum(axis=2)\n"
        "        lost: Int64 = self.counts[:, :, : index + 1].sum(axis=(1, 2))",
        "won: Int64 = self.counts[:, :, index:].sum(axis=2)\n"
        "        lost: Int64 = self.counts[:, :, :index].sum(axis=(1, 2))",
        ("metrics/test_threshold_curve.py::test_one_pass_equals_one_pass_per_threshold",),
    ),
    Fault(
        "metrics.threshold_curve.ThresholdCurve.tallies",
        "background hits without tagged photos' pixels",
        "true[BACKGROUND] - won[BACKGROUND].sum(axis=0)[None]",
        "true[BACKGROUND] - won[BACKGROUND].max(axis=0)[None]",
        ("metrics/test_threshold_curve.py",),
    ),
    Fault(
        "metrics.threshold_curve.ThresholdCurve.best",
        "the highest of equally good thresholds",
        "int(np.argmax(np.nan_to_num(miou, nan=-1.0)))",
        "len(miou) - 1 - int(np.argmax(np.nan_to_num(miou, nan=-1.0)[::-1]))",
        ("metrics/test_threshold_curve.py::test_best_is_the_lowest_of_tied_thresholds",),
    ),
    Fault(
        "metrics.tag_scores.tag_quality",
        "F1 of the hits alone",
        "ratio(2 * hits, total + photos)",
        "ratio(hits, total + photos)",
        ("metrics/test_tag_scores.py",),
    ),
    Fault(
        "metrics.tag_scores.tag_table",
        "photos are scored on the tags of others",
        "table[row, list(own)] = True",
        "table[row - 1, list(own)] = True",
        (
            "metrics/test_tag_scores.py",
            "steps/test_evaluate.py::test_without_masks_tags_and_evidence_remain",
        ),
    ),
    Fault(
        "metrics.tag_scores.doubtful_tags",
        "missing tags are called wrong",
        '"wrong" if tags[r, c] else "missing"',
        '"missing" if tags[r, c] else "wrong"',
        ("metrics/test_tag_scores.py",),
    ),
    Fault(
        "metrics.threshold_curve._Bins.of",
        "scores at a threshold are above it",
        "scores > self._next.take(bins)",
        "scores >= self._next.take(bins)",
        ("metrics/test_threshold_curve.py",),
    ),
    Fault(
        "metrics.threshold_curve.max_and_argmax",
        "the last of equal classes",
        "scores[channel] > best",
        "scores[channel] >= best",
        ("metrics/test_threshold_curve.py",),
    ),
    Fault(
        "metrics.boundary_iou.contour_band",
        "no band at the photo's edge",
        "band[:width] = band[-width:] = True",
        "pass",
        ("metrics/test_boundary_iou.py",),
    ),
]
