"""Which photos to ask a person for: those that represent others, and some at random.

What a network learns from a drawn mask helps with photos that look alike. So photos are chosen that
represent others, above all those whose masks are probably bad (`tag2mask.review.facility_location`,
weighted by the gains of `tag2mask.review.order`). That a photo doesn't represent itself keeps away
bad photos that look like no other.

Some photos are sampled at random and mixed among the others, unmarked on the page: what is decided
about them estimates the masks' quality (`tag2mask.evaluation.random_looks`). So they are
sampled from all training photos, whatever was decided about them before.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tag2mask.artifacts.handles import MODEL_FILE, CamModel
from tag2mask.artifacts.items import checked_id
from tag2mask.data.corrections.decisions import VERDICTS
from tag2mask.data.corrections.folder import ASKED, NO_CORRECTIONS, Corrections
from tag2mask.errors import RunFolderError, counted
from tag2mask.evaluation.random_looks import damaged_list, not_decided, read_samples
from tag2mask.files.atomic import write_text
from tag2mask.files.json_file import read_json, write_json
from tag2mask.review.facility_location import cosine_similarity, facility_location
from tag2mask.review.folder import ReviewFolder, ReviewPhoto, open_review
from tag2mask.review.order import Gain, gains, training_photos
from tag2mask.text.csv_text import csv_text

ASKED_TABLE = "asked.csv"
RANDOM_SHARE = 0.2
MOST_COMPARED = 2000
"""Most photos to choose from, as the similarities of all pairs are in memory; of more photos, this
many are sampled."""


@dataclass(frozen=True)
class Asked:
    """A photo that is asked for.

    Attributes:
        photo: its id.
        at_random: whether it was sampled at random.
        represents: whether it was chosen since it represents others; of neither, by its gain.
        gain: the expected gain, in [0, 1].
        uncertainty: see `Gain`.
        doubtful_tags: see `Gain`.
        rarity: see `Gain`.
    """

    photo: str
    at_random: bool
    represents: bool
    gain: float
    uncertainty: float
    doubtful_tags: float
    rarity: float


def choose(
    folder: ReviewFolder,
    found: Mapping[str, Gain],
    count: int,
    *,
    features: Mapping[str, NDArray[np.float32]],
    sampled: Sequence[str] = (),
    decided: Collection[str] = (),
    taught: Collection[str] = (),
    seed: int = 0,
) -> list[Asked]:
    """Choose training photos to ask for, in the order to look at them.

    Args:
        folder: the run.
        found: the gain of each photo.
        count: number of photos, at most.
        features: vectors of the photos to choose from and of those that were taught, of which the
            cosine is the similarity of two photos. Where these are too few, photos of the largest
            gain follow.
        sampled: photos that were sampled at random, to ask for in any case.
        decided: photos that are not asked for again, apart from those.
        taught: those of them that have a mask to learn from; they represent photos that look alike.
        seed: of the places of the sampled ones.
    """
    rest = {photo.id for photo in training_photos(folder)} - {*decided, *sampled}
    count = min(count, len(sampled) + len(rest))
    draw = random.Random(seed)
    known = [photo for photo in dict.fromkeys((*sampled, *taught)) if photo in features]
    compared = sorted(rest & features.keys())
    chosen = representatives(compared, found, count - len(sampled), features, known)
    others = sorted(rest - set(chosen), key=lambda photo: (-found[photo].total, photo))
    order = chosen + others[: count - len(sampled) - len(chosen)]
    for photo in sampled:
        order.insert(draw.randrange(len(order) + 1), photo)
    return [
        Asked(
            photo,
            photo in sampled,
            photo in chosen,
            round(found[photo].total, 4),
            **asdict(found[photo]),
        )
        for photo in order
    ]


def random_sample(
    folder: ReviewFolder, count: int, earlier: Sequence[Sequence[str]], seed: int = 0
) -> list[str]:
    """Sample from all training photos but those of earlier samples, whatever was decided.

    Photos of an earlier sample were as likely as any other, so all samples together are one, too.

    Args:
        folder: the run.
        count: number of photos, at most.
        earlier: the earlier samples.
        seed: the same seed has the same order, also if photos are added.
    """
    taken = {photo for sample in earlier for photo in sample}
    order = {photo.id for photo in training_photos(folder)} - taken
    return sorted(order, key=lambda p: hashlib.sha256(f"{seed} {p}".encode()).digest())[:count]


def representatives(
    photos: Sequence[str],
    found: Mapping[str, Gain],
    count: int,
    features: Mapping[str, NDArray[np.float32]],
    known: Sequence[str] = (),
) -> list[str]:
    """Choose the photos that represent most gain that no photo represents yet, one by one.

    Args:
        photos: n photos to choose from, and to represent.
        found: the gain of each photo.
        count: number of photos to choose, at most all.
        features: of all photos, known ones included, each (d,).
        known: k further photos, which represent others, too.
    """
    if not photos:
        return []
    gain = np.array([found[photo].total for photo in photos], np.float32)
    similarity = cosine_similarity(np.array([features[photo] for photo in (*photos, *known)]))
    np.fill_diagonal(similarity, 0)
    own, others = similarity[: len(photos), : len(photos)], similarity[: len(photos), len(photos) :]
    places = facility_location(own, gain, count, represented=others.max(axis=1, initial=0))
    return [photos[place] for place in places]


def write_asked(folder: Path, asked: Sequence[Asked], samples: Sequence[Sequence[str]]) -> None:
    """Write the list as JSON, which the page reads, and as CSV for people.

    Args:
        folder: the folder of corrections.
        asked: the list.
        samples: the random samples until now, with the photos that are decided already.

    Raises:
        RunFolderError: the folder can't be written.
    """
    rows = [asdict(one) for one in asked]
    write_json(folder / ASKED, {"photos": rows, "samples": samples})
    table = csv_text([list(Asked.__annotations__), *(row.values() for row in rows)])
    write_text(folder / ASKED_TABLE, table)


def read_asked(folder: Path) -> list[Asked]:
    """Read the list; empty if nobody has asked.

    Raises:
        RunFolderError: it is damaged.
    """
    path = folder / ASKED
    if not path.is_file():
        return []
    try:
        return [_asked(row) for row in read_json(path)["photos"]]
    except (KeyError, TypeError, ValueError, RunFolderError):
        raise damaged_list(folder) from None


def earlier_list(folder: Path, corrections: Corrections) -> str:
    """Return a line about the list that a new one replaces; empty: there is none.

    Args:
        folder: the folder of corrections.
        corrections: what is decided.
    """
    asked: list[Asked] = []
    with suppress(RunFolderError):  # a damaged list says nothing
        asked = read_asked(folder)
    if not asked:
        return ""
    decided = set(corrections.ids(*VERDICTS))
    done = sum(one.photo in decided for one in asked)
    count = counted(len(asked), "photo", "photos")
    return f"It replaces an earlier list of {count}, {done} of them decided"


def _asked(row: dict[str, Any]) -> Asked:
    numbers = {name: float(row[name]) for name in ("gain", *Gain.__annotations__)}
    represents = bool(row.get("represents"))  # lists of earlier versions lack it
    return Asked(checked_id(row["photo"]), bool(row["at_random"]), represents, **numbers)


def first_photos(run: Path) -> list[str]:
    """Return the ids of a run's photos in the order of the page.

    Raises:
        RunFolderError: not a run with masks, or a damaged one.
    """
    folder = open_review(run)
    return queue(folder, gains(folder), read_asked(folder.corrections))


def queue(folder: ReviewFolder, found: Mapping[str, Gain], asked: Sequence[Asked]) -> list[str]:
    """Return the ids of all photos in the order of the page: those asked for, then by gain."""
    first = [one.photo for one in asked if one.photo in found]
    taken = set(first)
    training = {photo.id for photo in training_photos(folder)}
    rest = [photo.id for photo in folder.photos if photo.id not in taken]
    rest.sort(key=lambda photo: (photo not in training, -found[photo].total))
    return first + list(dict.fromkeys(rest))


def ask(
    folder: ReviewFolder,
    count: int,
    *,
    corrections: Corrections = NO_CORRECTIONS,
    random_share: float = RANDOM_SHARE,
    seed: int = 0,
) -> list[Asked]:
    """Choose photos and write the list into the folder of corrections.

    Similarity is that of the CAM network's features. Without a CAM network, as in a folder of
    predictions, photos of the largest gain are chosen. Photos that are decided aren't asked for
    again, unless they are sampled at random and were decided about other masks.

    Args:
        folder: the run, or a folder of predictions.
        count: number of photos, at most.
        corrections: what is decided.
        random_share: share of photos that is sampled at random, from all training photos.
        seed: of the samples.

    Raises:
        RunFolderError: a damaged evaluation, or the list can't be written.
    """
    found = gains(folder)
    decided = corrections.ids(*VERDICTS)
    samples: list[list[str]] = []
    with suppress(RunFolderError):  # a damaged list is replaced
        # Samples that were decided about other masks, or not to the end, are open again.
        samples = [
            own
            for own in read_samples(folder.corrections)
            if own and not not_decided(own, folder.first_masks, corrections)
        ]
    open_ones = {photo.id for photo in training_photos(folder)} - set(decided)
    share = round(random_share * min(count, len(open_ones)))
    samples.append(random_sample(folder, share, samples, seed))
    sampled = not_decided(samples[-1], folder.first_masks, corrections)
    model = folder.path / CamModel.step / MODEL_FILE
    features = {}
    if random_share < 1 and model.is_file():
        from tag2mask.review.features import photo_features  # here, as torch takes seconds

        features = photo_features(model, _compared(folder, decided, corrections.sure, seed))
    asked = choose(
        folder,
        found,
        count,
        features=features,
        sampled=sampled,
        decided=decided,
        taught=corrections.sure,
        seed=seed,
    )
    write_asked(folder.corrections, asked, samples)
    return asked


def _compared(
    folder: ReviewFolder, decided: Collection[str], taught: Collection[str], seed: int
) -> list[ReviewPhoto]:
    """Return the photos to choose from, and those that were taught: all, or a sample of each."""
    draw = random.Random(f"compared {seed}")  # independent of the photos asked for at random
    done, known = set(decided), set(taught)
    photos = training_photos(folder)
    groups = ([p for p in photos if p.id not in done], [p for p in photos if p.id in known])
    return [
        photo
        for group in groups
        for photo in (group if len(group) <= MOST_COMPARED else draw.sample(group, MOST_COMPARED))
    ]
