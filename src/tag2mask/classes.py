"""Class names, ids and colors.

There are two numberings, and only this module converts between them:

* **tag ids** ``0 .. C-1`` number the foreground classes (classifier outputs, ``Sample.tags``);
* **mask ids** are the values of a mask's pixels: ``0`` background, ``1 .. C`` foreground,
  ``255`` ignore. Channel ``c`` of a ``(b, C+1, h, w)`` map is mask id ``c``.
"""

from __future__ import annotations

import colorsys
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from tag2mask.errors import DataError, nearest_hint
from tag2mask.text.letters import letters_of

BACKGROUND = 0
IGNORE = 255
MAX_CLASSES = 254
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
"""Characters that names of classes and photos must not have: lists have one name per line."""

NameKind = Literal["class", "background", "ignore", "unlabeled", "nothing"]
"""What a name found as a tag, folder or category stands for (see `name_kind`)."""
_WRITTEN: dict[NameKind, str] = {
    "background": "background Hintergrund arrière-plan sfondo achtergrond bakgrund bakgrunn "
    "baggrund arka_plan háttér pozadí pozadie segundo_plano plano_de_fondo latar_belakang "
    "背景 배경 خلفية φόντο",
    "ignore": "ignore ignored dont_care ignorieren",
    "unlabeled": "unlabeled unlabelled no_label no_labels not_labeled not_labelled unannotated tbd "
    "todo unbeschriftet nicht_annotiert nicht_gelabelt non_étiqueté sin_etiqueta sin_etiquetar "
    "未标注 未標註 未标记 ラベルなし",
    "nothing": "nan none null nil na nothing no_class no_object no_objects no_finding no_findings "
    "no_defect no_defects defect_free ok okay io keine kein_Defekt keine_Defekte kein_Fehler "
    "fehlerfrei ohne_Befund aucun aucune sans_défaut ninguno ninguna sin_defecto sin_defectos "
    "nessuno nessun_difetto nenhum sem_defeito geen ingen なし 無し 无 無 无缺陷 없음 нет",
}
"""Names that are not classes, in several languages; see `name_kind`."""
_WRITTEN_DOUBTFUL = (
    "good healthy intact undamaged clean gesund intakt sain sano "
    "normal negative empty other others misc miscellaneous unknown unclassified undefined "
    "void bg fond fondo fundo фон tło tausta gut leer sonstige sonstiges andere anderes unbekannt "
    "autre autres vide inconnu otro otros bueno vacío desconocido altro altri buono vuoto "
    "sconosciuto outro outros 其他 其它 その他 기타 未知 不明 正常 良品 合格 другое неизвестно"
)
"""Names that often, but not always, stand for none of the classes."""

_DOUBTFUL_ENDS = re.compile(r".*[ _-](healthy|normal|good|ok)", re.IGNORECASE)
"""``Apple___healthy``, next to other classes of apples."""

VOC_NAMES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)


@dataclass(frozen=True)
class ClassSet:
    """The foreground classes of a data set, in the order of their tag ids.

    Args:
        names: 1 to 254 distinct, non-empty, printable names, without the
            background.

    Raises:
        DataError: no name, more than 254, an empty or duplicate name, one with a control character,
            or one that means the background.
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.names) <= MAX_CLASSES:
            raise DataError(
                f"{len(self.names)} classes; a mask file holds 1 to {MAX_CLASSES}",
                fix="Check the class list or the tag table.",
            )
        seen: set[str] = set()
        for name in self.names:
            if not name.strip() or name_kind(name) == "background":
                raise DataError(
                    f"class name {name!r} is not allowed",
                    fix="Name foreground classes only, each with a non-empty name.",
                )
            if UNPRINTABLE.search(name):
                raise DataError(
                    f"class name {name!r} holds an unprintable character or is not UTF-8",
                    fix="Rename the class.",
                )
            if name in seen:
                raise DataError(f"class {name!r} is listed twice", fix="Remove one of the two.")
            seen.add(name)

    def __len__(self) -> int:
        return len(self.names)

    def tag_id(self, name: str) -> int:
        """Return the tag id of a class name; DataError names the nearest known one."""
        try:
            return self.names.index(name)
        except ValueError:
            raise DataError(f"unknown tag {name!r}{nearest_hint(name, self.names)}") from None

    @property
    def mask_names(self) -> tuple[str, ...]:
        """Names by mask id: ``background`` first (C+1)."""
        return ("background", *self.names)

    @property
    def colors(self) -> tuple[tuple[int, int, int], ...]:
        """RGB 0..255 by mask id (C+1): the VOC palette for VOC, a distinct one otherwise."""
        if self.names == VOC_NAMES:
            return voc_palette(len(self) + 1)
        return distinct_palette(len(self) + 1)


def classes_in(values: object) -> ClassSet:
    """Return the classes that a ``classes.json`` lists: ``{"names": ["cat", "dog"]}``.

    Args:
        values: its content.

    Raises:
        ValueError: it has another form.
        DataError: names that are not allowed (see `ClassSet`).
    """
    names = values.get("names") if isinstance(values, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("`names` is no list of texts")
    return ClassSet(tuple(names))


@lru_cache(maxsize=10_000)
def _letters(name: str) -> str:
    """Return the letters and digits of a name in lower case, without accents."""
    return letters_of(unicodedata.normalize("NFKD", name))


_NAME_KINDS = {_letters(name): kind for kind, names in _WRITTEN.items() for name in names.split()}
_DOUBTFUL_NAMES = frozenset(map(_letters, _WRITTEN_DOUBTFUL.split()))


def name_kind(name: str) -> NameKind:
    """Return what a name stands for, by its letters; case, accents and punctuation don't matter.

    Returns:
        ``class``, or, for the names that annotation tools, tables and factory lists write where
        there is no class:

        * ``background``: ``background``, ``_background_``, ``Hintergrund``, ``_none``: no class,
          on purpose;
        * ``ignore``: ``__ignore__``: pixels that count neither as a class nor as background;
        * ``unlabeled``: ``no_label``, ``_unlabeled``, ``?``: nobody has looked;
        * ``nothing``: ``nan``, ``n/a``, ``-``, ``OK``: probably none of the classes.
    """
    if name == "_none":
        return "background"
    letters = _letters(name)
    if letters:
        return _NAME_KINDS.get(letters, "class")
    if any(unicodedata.category(character) == "So" for character in name):
        return "class"  # an emoji
    return "unlabeled" if "?" in name else "nothing"


def is_doubtful_name(name: str) -> bool:
    """Return whether a name is often, but not always, used where there is no class: ``other``."""
    return _letters(name) in _DOUBTFUL_NAMES or bool(_DOUBTFUL_ENDS.fullmatch(name))


def mask_id(tag_id: int) -> int:
    """Return the mask id of a tag id."""
    return tag_id + 1


def tag_id_of_mask(mask_id: int) -> int:
    """Return the tag id of a foreground mask id."""
    assert mask_id not in (BACKGROUND, IGNORE)
    return mask_id - 1


def voc_palette(count: int) -> tuple[tuple[int, int, int], ...]:
    """Return the PASCAL VOC color map: bit k of the id sets bit 7-k//3 of channel k mod 3."""
    colors = []
    for i in range(count):
        rgb = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                rgb[channel] |= ((i >> (3 * bit + channel)) & 1) << (7 - bit)
        colors.append((rgb[0], rgb[1], rgb[2]))
    return tuple(colors)


def distinct_palette(count: int) -> tuple[tuple[int, int, int], ...]:
    """Return black, then hues a golden angle apart with alternating lightness."""
    colors = [(0, 0, 0)]
    for i in range(1, count):
        hue = (0.02 + (i - 1) * 0.61803398875) % 1.0
        lightness = (0.55, 0.42, 0.68)[(i - 1) % 3]
        red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.75)
        colors.append((round(red * 255), round(green * 255), round(blue * 255)))
    return tuple(colors)
