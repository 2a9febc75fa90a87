"""Faults in the dense CRF."""

from __future__ import annotations

from campaigns.fault import Fault

FAULTS = [
    Fault(
        "crf.dense_crf.DenseCrf.refine",
        "one iteration less",
        "range(self.settings.iterations + 1)",
        "range(max(1, self.settings.iterations))",
        ("reference/test_published_crf.py::test_marginals_and_labels",),
    ),
    Fault(
        "crf.dense_crf.PUBLISHED_CRF",
        "the bilateral kernel weighs 9.9",
        "bilateral_weight=10.0",
        "bilateral_weight=9.9",
        ("reference/test_published_crf.py",),
    ),
    Fault(
        "crf.dense_crf.PUBLISHED_CRF",
        "wider by one pixel",
        "bilateral_sxy=80.0",
        "bilateral_sxy=81.0",
        ("reference/test_published_crf.py",),
    ),
    Fault(
        "crf.dense_crf._features",
        "rows and columns share one place",
        "(np.arange(height, dtype=np.float32) / np.float32(sxy))[:, None]",
        "np.arange(width, dtype=np.float32) / np.float32(sxy)",
        ("reference/test_published_crf.py::test_marginals_and_labels",),
    ),
    Fault(
        "crf.mean_field_update.LOWEST_SCORE",
        "scores are clipped at 1e-4",
        "1e-5",
        "1e-4",
        ("reference/test_published_crf.py::test_marginals_and_labels",),
    ),
    Fault(
        "crf.mean_field_update._update_marginals",
        "the peak of the last class alone",
        "peak[i] = max(peak[i], row[i])",
        "peak[i] = row[i]",
        ("crf/test_dense_crf.py::test_without_iterations_or_kernels_scores_are_only_normalized",),
    ),
    Fault(
        "crf.lattice_filter.blur",
        "the blur is wider",
        "np.float32(0.5)",
        "np.float32(0.6)",
        ("crf/test_permutohedral.py::test_the_filter_is_the_papers",),
    ),
    Fault(
        "crf.permutohedral.PermutohedralLattice.normalize",
        "normalized on one side",
        "1 / np.sqrt(",
        "1 / (",
        ("reference/test_published_crf.py::test_marginals_and_labels",),
    ),
    Fault(
        "crf.permutohedral._Numbering.of",
        "kernels are wider",
        "math.sqrt(2 / 3)",
        "math.sqrt(1 / 2)",
        ("crf/test_permutohedral.py::test_the_filter_is_the_papers",),
    ),
]
