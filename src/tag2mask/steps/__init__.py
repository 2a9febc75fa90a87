"""The steps of the pipeline: each reads folders of earlier steps and writes one folder.

A step is a function of its module. It takes handles of the folders that it reads, its section of
the recipe, the folder to write and the runtime, and returns the handle of the written folder. In
the order of a run these are `prepare`, `train_cam`, `infer_cam`, `affinity_labels`,
`train_affinity`, `walk`, `pseudo_masks`, `train_segmenter`, `predict`, `evaluate` and `report`;
`tune` and `export` are used on their own. Steps never call each other.

The modules `training` (settings, batches and folders of all trainings), `per_photo` (the loop over
photos), `threshold_choice` and `empty_results` are shared. `cam_task`, `segmenter_task`,
`predict_photos` and `tuning_result` are parts of the steps of the same names.
"""
