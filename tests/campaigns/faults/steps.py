"""Faults in the steps."""

from __future__ import annotations

from campaigns.fault import Fault

FAULTS = [
    Fault(
        "steps.cam_task.CamTask.weights",
        "ECR is not ramped",
        'name.startswith(("er", "ecr"))',
        'name == "er"',
        ("steps/test_train_cam.py::test_er_and_ecr_are_ramped",),
    ),
    Fault(
        "steps.cam_task.CamTask.weights",
        "classification is ramped, too",
        '(ramp if name.startswith(("er", "ecr")) else 1.0)',
        "ramp",
        ("steps/test_train_cam.py::test_er_and_ecr_are_ramped",),
    ),
    Fault(
        "steps.cam_task.ViewDraw.at",
        "the same view 2 in every step",
        "self.seed * 1_000_003 + step",
        "self.seed * 1_000_003",
        ("steps/test_train_cam.py::test_each_step_has_a_view_of_its_own",),
    ),
    Fault(
        "steps.infer_cam._predicted",
        "the best predicted tag is not added",
        "tags.add(int(probabilities.argmax()))",
        "pass",
        ("steps/test_infer_cam.py::test_the_best_tag_is_predicted_however_improbable",),
    ),
    Fault(
        "steps.infer_cam._key",
        "tags are not in the key",
        "f\"{sample.stamp} {','.join(map(str, sample.tags))}\"",
        "sample.stamp",
        ("steps/test_infer_cam.py::test_only_photos_changed_in_the_data_are_computed_again",),
    ),
    Fault(
        "steps.infer_cam._tags",
        "known tags are predicted, too",
        'or (section.tags == "untagged" and not known)',
        'or section.tags == "untagged"',
        ("steps/test_infer_cam.py::test_tags_are_predicted_for_untagged_photos",),
    ),
    Fault(
        "steps.walk._Walker._key",
        "alpha is not in the key",
        'f"{self.alpha:g} {sample.stamp}',
        'f"{sample.stamp}',
        ("steps/test_walk.py::test_another_alpha_walks_every_photo_again",),
    ),
    Fault(
        "steps.walk._Walker._walked",
        "alpha 1 in every walk",
        "found.to_grid(cam_map.scores, self.alpha)",
        "found.to_grid(cam_map.scores, 1.0)",
        ("steps/test_walk.py::test_the_step_walks_with_its_settings",),
    ),
    Fault(
        "steps.pseudo_masks._PseudoMaskMaker._key",
        "the threshold is not in the key",
        'f"{self.threshold:g} {self.photos.stamp(sample.id)}"',
        'f"{self.photos.stamp(sample.id)}"',
        ("steps/test_pseudo_masks.py::test_another_estimate_makes_every_mask_again",),
    ),
    Fault(
        "steps.pseudo_masks._PseudoMaskMaker._write_one",
        "sure pixels are ignored",
        "labels[confidence < np.float32",
        "labels[confidence > np.float32",
        ("steps/test_pseudo_masks.py::test_unsure_pixels_are_ignored",),
    ),
    Fault(
        "steps.affinity_labels._alphas",
        "the two backgrounds are swapped",
        "return (strong, weak), background",
        "return (weak, strong), background",
        ("steps/test_affinity_labels.py::test_the_strong_background_comes_first",),
    ),
    Fault(
        "steps.affinity_labels._AffinityLabeler._key",
        "alphas are not in the key",
        'f"{alphas} {sample.stamp}',
        'f"{sample.stamp}',
        ("steps/test_affinity_labels.py::test_other_alphas_label_every_photo_again",),
    ),
    Fault(
        "steps.segmenter_task.SegmenterTask.inputs",
        "channels of the photo are swapped",
        "return image, batch.labels",
        "return image.flip(1), batch.labels",
        ("steps/test_training.py",),
    ),
    Fault(
        "steps.segmenter_task.Validation.after",
        "the last network becomes the model",
        "and write_validation(",
        "and None is not write_validation(",
        ("steps/test_train_segmenter.py::test_a_worse_network_does_not_replace_the_model",),
    ),
    Fault(
        "steps.per_photo.PhotoOutputs._write_share",
        "lost files are not made again",
        "or not files_exist(self.files, [photo.id])",
        "",
        ("steps/test_infer_cam.py::test_only_missing_maps_of_a_complete_folder_are_computed",),
    ),
    Fault(
        "steps.training.network_optimizer",
        "biases learn as fast as weights",
        "bias_lr=o.bias_lr",
        "bias_lr=1.0",
        ("steps/test_training.py",),
    ),
    Fault(
        "steps.evaluate._split_scores",
        "photos are scored on the tags of others",
        "known[row, list(sample.tags)] = True",
        "known[row - 1, list(sample.tags)] = True",
        ("steps/test_evaluate.py::test_without_masks_tags_and_certainty_remain",),
    ),
    Fault(
        "steps.evaluate._with_crf_masks",
        "the CRF follows the first maps",
        "base = before[-1]",
        "base = before[0]",
        ("steps/test_evaluate_steps.py::test_the_crf_follows_the_last_maps_before_the_walk",),
    ),
]
