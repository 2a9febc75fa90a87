"""Where a run may be written: not into the data, nor over a network that it starts from."""

from __future__ import annotations

from pathlib import Path

from tag2mask.errors import DataError, RecipeError, RunFolderError


def check_run_outside_data(data: Path, out: Path) -> None:
    """Check that a run's images won't be listed as photos of the data later.

    Raises:
        DataError: no data folder.
        RunFolderError: the run folder is inside it.
    """
    if not data.is_dir():
        raise DataError("no such data folder", where=data, fix="Correct --data.")
    if out.resolve().is_relative_to(data.resolve()):
        raise RunFolderError(
            "the run folder is inside the data folder",
            where=out,
            fix="Give an --out outside of --data.",
        )


def check_start_outside(setting: str, file: str | None, folder: Path) -> None:
    """Check that a training does not start from a network in the folder that it writes.

    With ``--redo`` the network would be deleted first.

    Args:
        setting: the recipe's key that names the network.
        file: the network; None: there is none.
        folder: the folder of the training step.

    Raises:
        RecipeError: the network is in the folder.
    """
    if file is not None and Path(file).resolve().is_relative_to(folder.resolve()):
        raise RecipeError(
            f"{setting} names a network in the folder that this training writes",
            where=file,
            fix="Give another --out; `tag2mask run --from RUN --out NEW` keeps RUN as it is.",
        )
