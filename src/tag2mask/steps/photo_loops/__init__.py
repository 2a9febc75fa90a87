"""Loops over photos.

Several steps share the loop of `per_photo` and the counts of `empty_results`. `predict_photos` and
`watch` are parts of the step ``predict``, `crf_masks` is one of ``evaluate``.
"""
