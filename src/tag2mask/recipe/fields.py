"""Types of a recipe's values, and the base class of its sections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from tag2mask.recipe.renamed import RENAMED_KEYS

Behavior = Literal["default", "published"]


def _no_boolean(given: object) -> object:
    """Refuse true and false, which Python treats as 1 and 0."""
    if isinstance(given, bool):
        raise ValueError("a number, not true or false")
    return given


Integer = Annotated[int, BeforeValidator(_no_boolean)]
Number = Annotated[float, BeforeValidator(_no_boolean)]
Fraction = Annotated[Number, Field(ge=0.0, le=1.0)]
Positive = Annotated[Number, Field(gt=0.0)]
NonNegative = Annotated[Number, Field(ge=0.0)]
Count = Annotated[Integer, Field(ge=1)]
NonNegativeCount = Annotated[Integer, Field(ge=0)]
Seed = Annotated[Integer, Field(ge=0, le=2**63 - 1)]
MOST_SIDE = 100_000
"""Upper limit, so that a typing error can't request more memory than any machine has."""
MOST_THREADS, MOST_PROCESSES = 1024, 256
"""Upper limits, above which a machine refuses to start threads or processes and a run crashes."""
Side = Annotated[Integer, Field(ge=1, le=MOST_SIDE)]
"""Side of a photo, px."""
Scale = Annotated[Number, Field(ge=0.05, le=8.0)]
"""Size of a photo or view relative to its size at scale 1."""


MapStride = Annotated[Literal[1, 2, 4, 8], BeforeValidator(_no_boolean)]
Precision = Annotated[
    Literal["auto", "32", "bf16", "16"],
    BeforeValidator(
        lambda given: {32: "32", 16: "16"}.get(given, given) if isinstance(given, int) else given
    ),
]
"""Precision of a network's computations. YAML reads 32 without quotes as a number."""


def _module_and_class(given: object) -> object:
    """Refuse text that is not the name of a module and of a class in it."""
    if isinstance(given, str):
        module, colon, name = given.partition(":")
        if not (colon and name.isidentifier() and all(map(str.isidentifier, module.split(".")))):
            raise ValueError("not package.module:Class")
    return given


ModuleName = Annotated[str, BeforeValidator(_module_and_class)]
"""A class of the user's own, as ``package.module:Class``."""
Options = dict[str, JsonValue]
"""Keyword arguments of such a class."""


class Section(BaseModel):
    """A frozen section that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    not_identity: ClassVar[frozenset[str]] = frozenset()
    """Keys that don't change the step's result and may differ when a folder is resumed. Keys of an
    inner section have dots (``pcm.block_mib``)."""
    added_keys: ClassVar[Mapping[str, Any]] = {}
    """Keys that were added after folders had been written without them, each with the value, as in
    JSON, that means what was done before. With this value a key is no part of a step's identity, so
    that those folders remain valid. Keys are dotted as in ``not_identity``."""
    removed_keys: ClassVar[Mapping[str, Any]] = {}
    """Keys of earlier versions, each with the value that means what is done without it. With this
    value a run's recipe and its folders remain valid. Keys are dotted as in ``not_identity``."""
    renamed_keys: ClassVar[Mapping[str, str]] = RENAMED_KEYS
    """Old to new names of keys, to recognize folders of earlier versions."""

    def modules(self) -> dict[str, str]:
        """Return the classes of the user's own that the step uses, by the key of each.

        Their sources are part of the step's identity.
        """
        return {}
