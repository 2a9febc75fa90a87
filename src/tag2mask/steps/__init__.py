"""The steps of the pipeline: each reads folders of earlier steps and writes one folder.

A step is a function of its module. It takes handles of the folders that it reads, its section of
the recipe, the folder to write and the runtime, and returns the handle of the written folder. In
the order of a run these are `prepare`, `train_cam`, `infer_cam`, `affinity_labels`,
`train_affinity`, `walk`, `pseudo_masks`, `train_segmenter`, `predict`, `evaluate` and `report`;
`tune` and `export` are used on their own. Steps never run each other. `tune` builds the walk's
inference by a function of `walk`, and `export` takes that of `predict` for its settings.

`trainers` has what the steps that train networks share, `photo_loops` what those share that process
photos one by one. `threshold_choice` and `start_checks` serve several steps; `tuning_result` and
`decision_rule` are parts of `tune` and `export`.
"""
