"""Predicts with a network that needs no torch: ``python predict_process.py PHOTOS OUT SECONDS``."""

from __future__ import annotations

import sys
from pathlib import Path

from local_segmenter import LocalSegmenter
from tag2mask.data.photo_files import list_photos
from tag2mask.recipe.sections import Predict
from tag2mask.steps.predict import predict

if __name__ == "__main__":
    photos, out, seconds = sys.argv[1:]
    predict(
        list_photos([photos]),
        LocalSegmenter(seconds=float(seconds)),
        Predict(confidence=True),
        Path(out),
        model="local",
    )
    print("torch" in sys.modules)
