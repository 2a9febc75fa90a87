"""A VOC folder in which some training photos are set apart, to choose settings on.

    python -m benchmarks.experiments.tune_split DATA OUT [--photos benchmarks/voc12_tune200.txt]

OUT has links to the photos, masks and tags of DATA, and lists of its own: the listed training
photos are the split ``val``, the other training photos are ``train``. The validation photos of DATA
are in no list.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tag2mask.errors import DataError, first_few
from tag2mask.files.atomic import write_text
from tag2mask.files.os_errors import make_folder

LISTS = Path("ImageSets/Segmentation")
TUNE_PHOTOS = Path(__file__).parents[1] / "voc12_tune200.txt"


def make_tune_split(data: Path, photos: Path, out: Path) -> Path:
    """Make the folder, or complete it; return it.

    Args:
        data: a VOC folder with lists of ids.
        photos: ids of some of its training photos, one per line.
        out: folder to write.

    Raises:
        DataError: no such list, or an id that is no training photo.
        RunFolderError: ``out`` can't be written.
    """
    train, listed = read_ids(data / LISTS / "train.txt"), read_ids(photos)
    if unknown := sorted(set(listed) - set(train)):
        raise DataError(
            f"not among the training photos of {data}: {first_few(unknown)}",
            where=photos,
            fix="Give a list of ids of training photos, or the data that it was made for.",
        )
    make_folder(out)
    for entry in sorted(data.iterdir()):
        link = out / entry.name
        if entry.name != LISTS.parts[0] and not entry.name.startswith(".") and not link.exists():
            link.symlink_to(entry.absolute())
    kept = [photo for photo in train if photo not in set(listed)]
    for name, ids in (("train", kept), ("val", listed)):
        write_text(out / LISTS / f"{name}.txt", "".join(f"{photo}\n" for photo in ids))
    return out


def read_ids(path: Path) -> list[str]:
    """Return the ids of a list, in its order.

    Raises:
        DataError: no such list.
    """
    try:
        return path.read_text(encoding="utf-8").split()
    except OSError:
        raise DataError(
            "no list of photos", where=path, fix="Give a VOC folder with ImageSets/Segmentation."
        ) from None


def main() -> None:
    """Make the folder and print its numbers of photos."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--photos", type=Path, default=TUNE_PHOTOS)
    options = parser.parse_args()
    out = make_tune_split(options.data, options.photos, options.out)
    print(*(f"{name}: {len(read_ids(out / LISTS / f'{name}.txt'))}" for name in ("train", "val")))


if __name__ == "__main__":
    main()
