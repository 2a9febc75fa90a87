"""Write what an import planned: photos first, the table last."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from tag2mask.data.layouts.listing import CLASS_LIST
from tag2mask.data.layouts.tables.find_tables import TAG_TABLE
from tag2mask.data.table_import.existing import HEADER
from tag2mask.data.table_import.plan import TAG_MARK, ImportPlan
from tag2mask.files.atomic import link_or_copy, write_text
from tag2mask.files.os_errors import readable_os_errors


def write_imports(plans: Sequence[ImportPlan], *, copy: bool = False) -> int:
    """Write the data folder of an import.

    Photos are symbolic links; where the system has none, or with ``copy``, they are copies. The
    table is written last, so that an interrupted import is continued by the same command.

    Args:
        plans: what to write, of one table or of several; the last one has the photos of all.
        copy: copy the photos.

    Returns:
        The number of photos that were copied.

    Raises:
        RunFolderError: the folder can't be written.
    """
    copied, last = 0, plans[-1]
    with readable_os_errors(last.out):
        for plan in plans:
            for name, source in plan.files.items():
                target = plan.out / name
                if not target.exists():
                    copied += link_or_copy(source, target, copy=copy)
        write_text(last.out / CLASS_LIST, "".join(f"{name}\n" for name in last.class_names))
        write_text(last.out / TAG_TABLE, _table(last))
    return copied


def _table(plan: ImportPlan) -> str:
    """Return the text of the canonical table."""
    has_splits = any(photo.split for photo in plan.photos.values())
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER if has_splits else HEADER[:-1])
    for path, photo in plan.photos.items():
        row = [path, TAG_MARK.join(photo.tags), photo.group]
        writer.writerow([*row, photo.split] if has_splits else row)
    return text.getvalue()
