"""Scores of maps and masks against the photos' own masks, and their record ``evaluation.json``.

- `tag2mask.evaluation.stages`: the stages of a run: maps, walked maps, CRF masks, predictions
- `tag2mask.evaluation.comparison`: compare each photo with its mask
- `tag2mask.evaluation.counts`: pixel counts of photos and splits
- `tag2mask.evaluation.records`: the dataclasses that ``evaluation.json`` consists of
- `tag2mask.evaluation.split_scores`: the scores of a split
- `tag2mask.evaluation.cross_fit`: honest scores of photos that chose the background threshold
- `tag2mask.evaluation.evidence`: evidence of how good a photo's masks are, without ground truth
- `tag2mask.evaluation.random_looks`: how good the masks are, by decisions about sampled photos
- `tag2mask.evaluation.photo_rates`: missed photos and false alarms of the network, against tags
- `tag2mask.evaluation.decision_rule`: which classes a photo shows, for a miss rate
- `tag2mask.evaluation.left_out`: the photos that an evaluation leaves out
- `tag2mask.evaluation.photo_rows`: write and read ``photos.jsonl``, one line per photo
- `tag2mask.evaluation.resampled`: intervals of differences between evaluations
- `tag2mask.evaluation.scores`: these records from counts
- `tag2mask.evaluation.tables`: these records as Markdown tables
- `tag2mask.evaluation.wording`: percentages and thresholds as text
"""
