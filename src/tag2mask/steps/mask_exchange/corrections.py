"""Take drawn masks in as corrections: ``tag2mask masks import --drawn --out RUN/corrections``."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tag2mask.artifacts.handles import PreparedData
from tag2mask.data.corrections.decisions import DECISIONS, Decision
from tag2mask.data.corrections.folder import CORRECTIONS
from tag2mask.data.corrections.writing import CorrectionsWriter, open_corrections
from tag2mask.data.index import read_classes, read_samples
from tag2mask.data.masks import mask_path, read_mask
from tag2mask.files.os_errors import readable_os_errors
from tag2mask.steps.mask_exchange.importing import ImportOptions, import_masks
from tag2mask.steps.mask_exchange.readers import MaskFiles


@dataclass(frozen=True)
class ImportedCorrections:
    """What was taken in.

    Attributes:
        photos: ids of the photos that are corrected now.
        warnings: what was left out of their masks.
    """

    photos: tuple[str, ...]
    warnings: Sequence[str]


def is_corrections_folder(out: Path) -> bool:
    """Return whether masks that people drew become corrections in a folder."""
    return out.name == CORRECTIONS or (out / DECISIONS).is_file()


def import_corrections(
    files: MaskFiles, data: PreparedData, options: ImportOptions, out: Path
) -> ImportedCorrections:
    """Write a verdict ``corrected`` and the mask of each photo; tags that were corrected stay so.

    Nothing is written unless all masks fit the data and can be drawn.

    Args:
        files: the masks.
        data: the photos and classes that they are of.
        options: how they are taken in.
        out: the folder of corrections, which is created unless it exists.

    Raises:
        DataError: as `import_masks`; or the folder is of other classes.
        FolderInUseError: the review page is open on the folder.
        RunFolderError: it can't be written.
    """
    classes = read_classes(data.path)
    if (out / DECISIONS).is_file() or (out.exists() and not out.is_dir()):
        with open_corrections(out, classes):  # before the masks are drawn, which may take long
            pass
    with _temporary_folder(out) as temporary:
        made = import_masks(files, data, options, temporary / "masks")
        with open_corrections(out, classes) as writer:
            photos = tuple(_write_all(writer, made.path, data))
        return ImportedCorrections(photos, made.manifest.metrics.get("warnings", ()))


@contextmanager
def _temporary_folder(out: Path) -> Iterator[Path]:
    """Make a folder in the corrections or, where there are none yet, in the nearest folder."""
    place = next(folder for folder in (out, *out.absolute().parents) if folder.is_dir())
    with readable_os_errors(place):
        temporary = tempfile.TemporaryDirectory(prefix=".import-", dir=place)
    with temporary as name:
        yield Path(name)


def _write_all(writer: CorrectionsWriter, masks: Path, data: PreparedData) -> Iterator[str]:
    """Write the decision and the mask of each photo that has one; yield its id."""
    for sample in read_samples(data.path):
        mask = mask_path(masks, sample.id)
        if not mask.is_file():
            continue
        before = writer.decisions.get(sample.id, Decision(sample.id))
        # The run's mask that it was compared with isn't known.
        decision = replace(before, verdict="corrected", origin="import", time="", looked_at="")
        writer.write(decision, read_mask(mask, len(writer.classes)))
        yield sample.id
