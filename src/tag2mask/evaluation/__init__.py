"""Scores of maps and masks against the photos' own masks, and their record ``evaluation.json``.

- `tag2mask.evaluation.stages`: the stages of a run: maps, walked maps, CRF masks, predictions
- `tag2mask.evaluation.comparison`: compare each photo with its mask
- `tag2mask.evaluation.counts`: pixel counts of photos and splits
- `tag2mask.evaluation.crf_masks`: masks of maps after a dense CRF, for comparison
- `tag2mask.evaluation.records`: the dataclasses that ``evaluation.json`` consists of
- `tag2mask.evaluation.scores`: these records from counts
- `tag2mask.evaluation.tables`: these records as Markdown tables
- `tag2mask.evaluation.wording`: percentages and thresholds as text
"""
