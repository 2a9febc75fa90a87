"""Write ``data/`` from a folder of complete reference values: small enough for the repository.

Usage, in the folder of the repository (needs pydensecrf2)::

    PYTHONPATH=tests python tests/reference/make_data.py FOLDER

Maps keep every n-th pixel in both directions, and inputs that :mod:`reference.inputs` draws again
are left out. ``crf.npz`` has results of pydensecrf for a smaller photo.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reference.inputs import Arrays, inputs

DATA = Path(__file__).parent / "data"
STEPS = {
    "seam_forward.npz": {"cam1_raw": 8, "cam_rv1_raw": 8, "cam2_raw": 4, "cam_rv2_raw": 4},
    "pcm.npz": {"refined": 2},
    "affinity.npz": {"walk_t64": 2},
    "affinity_labels.npz": {},
    "deeplabv1.npz": {"logits": 8},
    "inference.npz": {"cam": 4},
    "evaluation.npz": {},
}
"""Each file's maps, and the step between the pixels that are kept."""
COPIED = ("seam_losses.json", "evaluation.json", "official_weights.py")
SHAPES = (
    "resnet38_seam_shapes.json",
    "resnet38_aff_shapes.json",
    "deeplabv1_resnet38_shapes.json",
)
ALPHAS = (4, 24)


def main(folder: Path) -> None:
    """Write all files."""
    DATA.mkdir(exist_ok=True)
    for name, steps in STEPS.items():
        with np.load(folder / name) as arrays:
            complete = dict(arrays)
        drawn = inputs(name)
        for key, array in drawn.items():
            np.testing.assert_array_equal(array, complete.pop(key), err_msg=f"{name}, {key}")
        np.savez_compressed(
            DATA / name, **{k: _small(v, steps.get(k, 1)) for k, v in complete.items()}
        )
    np.savez_compressed(DATA / "crf.npz", **pydensecrf_values(inputs("crf.npz")))
    for name in (*COPIED, *SHAPES):
        shutil.copyfile(folder / name, DATA / name)


def _small(array: NDArray[np.generic], step: int) -> NDArray[np.generic]:
    if array.dtype == np.float32 and np.isin(array, (0, 1)).all():
        return array.astype(bool)
    return array[..., ::step, ::step] if step > 1 else array


def pydensecrf_values(given: Arrays) -> Arrays:
    """Return marginals and labels as the authors' code computes them for each alpha."""
    from pydensecrf.densecrf import DenseCRF2D
    from pydensecrf.utils import unary_from_softmax

    image, cam, found = given["image"].copy(), given["cam"], {}
    for alpha in ALPHAS:
        scores = np.concatenate([(1 - cam.max(axis=0, keepdims=True)) ** alpha, cam])
        crf = DenseCRF2D(image.shape[1], image.shape[0], len(scores))
        crf.setUnaryEnergy(np.ascontiguousarray(unary_from_softmax(scores)))
        crf.addPairwiseGaussian(sxy=3, compat=3)
        crf.addPairwiseBilateral(sxy=80, srgb=13, rgbim=image, compat=10)
        marginals = np.array(crf.inference(10), np.float32).reshape(scores.shape)
        found[f"crf_alpha{alpha}"] = marginals.astype(np.float16)
        found[f"labels_alpha{alpha}"] = marginals.argmax(axis=0).astype(np.uint8)
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
