"""AffinityNet's affinities, walk, pair labels and losses equal the authors'."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from reference.inputs import at_stored_pixels, reference_values
from tag2mask.affinity.dataset import reduce_labels
from tag2mask.affinity.labels import agreed_labels
from tag2mask.affinity.loss import AFFINITY_WEIGHTS, affinity_terms, pair_labels
from tag2mask.affinity.marginals import cell_labels
from tag2mask.affinity.network import AffinityNet
from tag2mask.affinity.pairs import existing_pairs
from tag2mask.affinity.random_walk import random_walk

RADIUS, BETA, STEPS = 5, 8.0, 64


def arrays_of(reference: Path, name: str) -> dict[str, Tensor]:
    values = reference_values(reference, name)
    return {key: torch.from_numpy(array) for key, array in values.items()}


def published_pairs(size: tuple[int, int]) -> Tensor:
    return torch.from_numpy(existing_pairs(size, RADIUS, published=True))


def on_the_grid(pairs: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the published list of pairs (offsets, n) as (offsets, h, w)."""
    exist = published_pairs(size)
    return torch.zeros(exist.shape, dtype=pairs.dtype).masked_scatter(exist, pairs)


def test_affinities_equal_the_authors(affinity_net: AffinityNet, reference: Path) -> None:
    values = arrays_of(reference, "affinity.npz")
    with torch.no_grad():
        affinity = affinity_net(values["image"], radius=RADIUS, published=True)
        everywhere = affinity_net(values["image"], radius=RADIUS)
    size = (affinity.shape[2], affinity.shape[3])
    assert size == tuple(values["cam"].shape[1:])
    wanted = on_the_grid(values["affinity"][0], size)
    torch.testing.assert_close(affinity[0], wanted, atol=1e-4, rtol=0)
    # The default border adds pairs and does not change the others.
    published = published_pairs(size)
    assert torch.equal(everywhere[0][published], affinity[0][published])
    assert (everywhere > 0).sum() > published.sum()


def test_walk_equals_the_authors(reference: Path) -> None:
    values = arrays_of(reference, "affinity.npz")
    affinity = on_the_grid(values["affinity"][0], tuple(values["cam"].shape[1:]))
    walked = random_walk(affinity, values["cam"], radius=RADIUS, beta=BETA, steps=STEPS)
    stored = values["walk_t64"]
    torch.testing.assert_close(at_stored_pixels(walked, stored), stored, atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def labels(reference: Path) -> dict[str, Tensor]:
    return arrays_of(reference, "affinity_labels.npz")


def test_pair_labels_equal_the_authors(labels: dict[str, Tensor]) -> None:
    size = tuple(labels["label_map"].shape)
    found = pair_labels(labels["label_map"][None], RADIUS, published=True)
    for name, kind in found._asdict().items():
        assert torch.equal(kind[0], on_the_grid(labels[name], size).bool()), name


def test_cells_are_labeled_as_by_the_authors(reference: Path) -> None:
    """Average the marginals of a real photo over cells of 8 x 8, as ``VOC12AffDataset`` does."""
    arrays = arrays_of(reference, "crf.npz")
    both = torch.stack([arrays[f"crf_alpha{alpha}"] for alpha in (4, 24)]).float()
    height, width = both.shape[2], min(both.shape[3], 448)
    container = torch.zeros(2, both.shape[1], 448, 448)  # the photo inside of a crop
    container[:, :, 100 : 100 + height, :width] = both[..., :width]
    pooled = avg_pool2d(container, 8)
    label_la, label_ha = pooled.argmax(dim=1)
    label = label_la.clone()
    label[label_la == 0] = 255
    label[label_ha == 0] = 0
    label[pooled.amax(dim=(0, 1)) < 1e-5] = 255
    found = torch.from_numpy(cell_labels(container.numpy(), (0, 1), 8))
    assert torch.equal(found.long(), label)
    assert set(label.unique().tolist()) >= {0, 1, 255}
    majority = reduce_labels(agreed_labels(*container.numpy(), (0, 1)), 8)
    assert (found.numpy() != majority)[13:50].mean() > 0.002  # pooling labels makes a difference


def test_losses_equal_the_authors(labels: dict[str, Tensor]) -> None:
    affinity = on_the_grid(labels["affinity"], tuple(labels["label_map"].shape))
    terms = affinity_terms(affinity[None], labels["label_map"][None], radius=RADIUS, published=True)
    values = [term.value for term in terms.values()]
    total = sum(AFFINITY_WEIGHTS[name] * term.value for name, term in terms.items())
    torch.testing.assert_close(
        torch.stack([*values, torch.as_tensor(total)]), labels["losses"], atol=1e-5, rtol=0
    )
