"""Classes of the user's own that a recipe names, and the consent to import their modules.

Importing a module runs it. A user who names one with ``--set`` or in a file of their own agrees to
that. A recipe that a run wrote may come from somebody else, so its modules need a word of consent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tag2mask.errors import PartError


def module_names(values: Mapping[str, Any]) -> set[str]:
    """Return the values of all keys ``module``, also of dotted keys, and those in lists."""
    found: set[str] = set()
    for key, value in values.items():
        if key.rpartition(".")[2] == "module" and isinstance(value, str):
            found.add(value)
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, Mapping):
                found |= module_names(inner)
    return found


def check_consent(named: set[str], agreed: set[str], *, where: str) -> None:
    """Check that the user agreed to the import of modules.

    Args:
        named: ``package.module:Class`` of all classes.
        agreed: those that the user named.
        where: what names them.

    Raises:
        PartError: others; nothing was imported.
    """
    if others := sorted(named - agreed):
        raise PartError(
            f"{where} names {', '.join(others)}, whose import runs code; nothing was imported",
            where="--allow-modules",
            fix="Look at the modules; if you trust them, give --allow-modules.",
        )
