"""Names that recipes no longer use, or that other projects use, and what they are called here."""

from __future__ import annotations

from collections.abc import Mapping

RENAMED_KEYS: Mapping[str, str] = {
    "behaviour": "behavior",
    "optimiser": "optimizer",
    "colour_jitter": "color_jitter",
    "background": "threshold_from",
    "score": "background_threshold",
}
"""Keys of earlier versions, by the last part of their dotted name: old to new."""

RENAMED_VALUES: Mapping[str, Mapping[str, str]] = {"behavior": {"paper": "published"}}
"""Values of earlier versions, by the last part of their key: old to new."""

REMOVED_KEYS = frozenset(
    {
        "train_cam.losses.teach",
        "train_cam.optimizer.pcm_lr",
        "train_segmenter.confidence_weight",
        "train_segmenter.drawn_epochs",
        "train_segmenter.losses",
        "train_segmenter.rounds",
    }
)
"""Keys and sections of earlier versions that were not shown to improve results."""

COMMON_NAMES: Mapping[str, str] = {
    "amp": "precision",
    "arch": "architecture",
    "base_lr": "lr",
    "batch": "batch_size",
    "bg_score": "background_threshold",
    "bg_threshold": "background_threshold",
    "bs": "batch_size",
    "checkpoint": "init_from",
    "clip_grad": "clip_norm",
    "crop_size": "crop",
    "ema_decay": "ema",
    "fp16": "precision",
    "gpus": "devices",
    "grad_clip": "clip_norm",
    "hflip": "flip",
    "image_size": "long_side",
    "img_size": "long_side",
    "input_size": "long_side",
    "jitter": "color_jitter",
    "learning_rate": "lr",
    "loss": "losses",
    "lr_schedule": "schedule",
    "max_epochs": "epochs",
    "max_iter": "max_steps",
    "max_iters": "max_steps",
    "n_epochs": "epochs",
    "num_epochs": "epochs",
    "num_gpus": "devices",
    "num_steps": "max_steps",
    "num_threads": "threads",
    "num_workers": "workers",
    "pretrained": "weights",
    "random_seed": "seed",
    "resolution": "long_side",
    "scheduler": "schedule",
    "threshold": "background_threshold",
    "warmup": "warmup_steps",
    "wd": "weight_decay",
}
"""Names that other projects use for a setting, and the last part of its key here."""


def current_name(key: str) -> str | None:
    """Return the dotted key that replaced one of an earlier version; None: it is not such a key.

    >>> current_name("walk.background")
    'walk.threshold_from'
    """
    *sections, last = key.split(".")
    renamed = [RENAMED_KEYS.get(part, part) for part in sections]
    if last not in RENAMED_KEYS and renamed == sections:
        return None
    return ".".join([*renamed, RENAMED_KEYS.get(last, last)])
