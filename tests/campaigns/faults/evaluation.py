"""Faults in the evaluation."""

from __future__ import annotations

from campaigns.fault import Fault

STEPS = "steps/test_evaluate_steps.py"
SCORES = "steps/test_evaluate.py"

FAULTS = [
    Fault(
        "evaluation.counts.MaskCounts.add",
        "ignored pixels of a pseudo mask count as right",
        "np.where(ignored, np.uint8(IGNORE), truth)",
        "np.where(ignored & (truth == IGNORE), np.uint8(IGNORE), truth)",
        (f"{SCORES}::test_ignored_pixels_of_a_pseudo_mask_count_as_void",),
    ),
    Fault(
        "evaluation.comparison.Stage.scores",
        "scores at the threshold before the used one",
        "counts.index(self.threshold)",
        "counts.index(self.threshold) - 1",
        (
            f"{SCORES}::test_the_curve_equals_the_pseudo_masks_score_at_their_threshold",
            f"{STEPS}::test_scores_computed_by_hand",
        ),
    ),
    Fault(
        "evaluation.comparison.Comparison._stage",
        "earlier stages are scored on the last maps",
        "maps[stage.name]",
        "maps[self._own_stage.name]",
        (f"{STEPS}::test_scores_computed_by_hand",),
    ),
    Fault(
        "steps.photo_loops.crf_masks.CrfMasks._key",
        "the threshold is not in the key",
        'f"{self.threshold:g} {sample.stamp}',
        'f"{sample.stamp}',
        ("steps/photo_loops/test_crf_masks.py::test_another_threshold_makes_every_crf_mask_again",),
    ),
    Fault(
        "steps.photo_loops.crf_masks.CrfMasks._write_one",
        "alpha 1 instead of that of the threshold",
        "derived_alpha(self.threshold)",
        "1.0",
        (
            f"{STEPS}::test_the_crf_uses_the_background_threshold_in_use",
            f"{STEPS}::test_a_crf_without_iterations_is_the_threshold",
        ),
    ),
    Fault(
        "evaluation.scores.mask_scores",
        "precision and recall are swapped",
        "precision=none_if_nan(mean_of_present(confusion.precision())),\n"
        "        recall=none_if_nan(mean_of_present(confusion.recall()))",
        "precision=none_if_nan(mean_of_present(confusion.recall())),\n"
        "        recall=none_if_nan(mean_of_present(confusion.precision()))",
        ("evaluation/test_scores.py",),
    ),
    Fault(
        "evaluation.counts._interleaved",
        "ranks one after the other",
        "merged[rank :: len(parts)] = part",
        "pass",
        (f"{SCORES}::test_two_ranks_give_the_same_files",),
    ),
    Fault(
        "evaluation.stages._walk_threshold",
        "alpha is taken for the threshold",
        "threshold_from_alpha(alpha)",
        "alpha",
        ("steps/test_evaluate_steps.py::test_the_crf_uses_the_background_threshold_in_use",),
    ),
    Fault(
        "evaluation.tables._stage_table",
        "recall in the column of precision",
        '("precision", "recall")',
        '("recall", "precision")',
        ("evaluation/test_tables.py",),
    ),
    Fault(
        "evaluation.comparison.Stage.scores",
        "the best threshold of other thresholds",
        "record.thresholds.index(record.best_threshold)",
        "0",
        ("steps/test_evaluate_steps.py::test_scores_computed_by_hand",),
    ),
    Fault(
        "evaluation.counts.SplitCounts.add",
        "photos without masks are counted",
        "if found.truth is not None:\n            self.masked += 1",
        "self.masked += 1\n        if found.truth is not None:",
        ("steps/test_evaluate.py",),
    ),
    Fault(
        "evaluation.tables.class_table",
        "false negatives in the column of false positives",
        "c.false_positive_share,\n                        c.false_negative_share",
        "c.false_negative_share,\n                        c.false_positive_share",
        ("evaluation/test_tables.py",),
    ),
]
