"""What an import understood and found, as lines to print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tag2mask.data.table_import.join import nearest_name
from tag2mask.data.table_import.plan import ImportPlan
from tag2mask.errors import counted, first_few

_EXAMPLES = 5


def import_summary(plan: ImportPlan) -> tuple[str, ...]:
    """Return the lines: table, columns, classes, no tag, photos, join, left out, changes."""
    return (
        f"table: {plan.table.name}, {counted(len(plan.table.lines), 'row', 'rows')}"
        + (f", read as {plan.encoding}" if plan.encoding else ""),
        f"columns: {_columns(plan)}",
        f"classes: {len(plan.class_names)}, by parts: {_classes(plan)}",
        f"no tag: {_no_tag(plan)}",
        f"photos: {_photos(plan)}",
        *(f"  {example}" for example in _examples(plan)),
        *_left_out(plan),
        *_changes(plan),
    )


def _columns(plan: ImportPlan) -> str:
    header, columns = plan.table.header, plan.columns
    assert columns.id is not None
    kind = "tags in" if columns.tags else "a class in each of"
    named = first_few((repr(header[i]) for i in (*columns.tags, *columns.classes)), 8)
    parts = [f"photos in {header[columns.id]!r}", f"{kind} {named}"]
    if columns.split.columns:
        parts.append(f"split in {first_few(repr(header[i]) for i in columns.split.columns)}")
    notes = [r for r in plan.parts.remarks if not r.startswith(("columns read", "columns of 0"))]
    return "; ".join([", ".join(parts), *notes])


def _classes(plan: ImportPlan) -> str:
    joined = [part for part in plan.parts.parts if part.text in plan.joined.parts]
    counts = Counter(tag for part in joined for tag in part.tags)
    return first_few((f"{name} {counts[name]}" for name in plan.class_names), 20)


def _no_tag(plan: ImportPlan) -> str:
    found = plan.parts.no_tag
    if not found:
        return "every row has one"
    texts = first_few(f"{text!r} {count}" for text, count in found.most_common())
    return f"{counted(found.total(), 'row', 'rows')} ({texts})"


def _photos(plan: ImportPlan) -> str:
    parts = plan.joined.parts
    count = len(plan.files)
    several = sum(len(part.photos) > 1 for part in parts.values())
    return f"{count} of {count + len(plan.joined.unnamed)} joined, of " + (
        f"{counted(len(parts), 'part', 'parts')}, {several} with several photos"
    )


def _examples(plan: ImportPlan) -> Iterator[str]:
    """Yield examples of the join, those with tags and with several photos first."""
    joined = [part for part in plan.parts.parts if part.text in plan.joined.parts]
    joined.sort(key=lambda p: (not p.tags, -len(plan.joined.parts[p.text].photos)))
    for part in joined[:_EXAMPLES]:
        photos = first_few(plan.joined.parts[part.text].photos, 3)
        yield f"{part.text} = {photos}: {'; '.join(part.tags) or 'no tag'}"


def _left_out(plan: ImportPlan) -> Iterator[str]:
    """Yield what is not imported."""
    joined, parts = plan.joined, plan.parts
    if joined.unnamed:
        texts = [part.text for part in parts.parts]
        shown = [
            f"{path} (the nearest row is {near!r})" if near else path
            for path in joined.unnamed[:_EXAMPLES]
            for near in [nearest_name(path, texts)]
        ]
        more = f" and {len(joined.unnamed) - _EXAMPLES} more" * (len(joined.unnamed) > _EXAMPLES)
        count = counted(len(joined.unnamed), "photo that no row names", "photos that no row names")
        yield f"left out: {count}: {', '.join(shown)}{more}"
    if joined.without_photo:
        shown = [f"{text!r}" + (f" ({why})" if why else "") for text, why in _explained_first(plan)]
        count = counted(len(joined.without_photo), "part without a photo", "parts without a photo")
        yield f"left out: {count}: {first_few(shown)}"
    if parts.unlabeled:
        count = counted(len(parts.unlabeled), "part that is", "parts that are")
        yield f"left out: {count} not labeled: {first_few(map(repr, parts.unlabeled))}"
    if parts.unnamed:
        yield f"left out: rows that name no part: {first_few(parts.unnamed)}"


def _explained_first(plan: ImportPlan) -> list[tuple[str, str]]:
    return sorted(plan.joined.without_photo.items(), key=lambda item: not item[1])


def _changes(plan: ImportPlan) -> Iterator[str]:
    """Yield what changes in an earlier import."""
    changes = plan.changes
    if not (plan.existed or changes.tags or changes.other):
        return
    yield f"changes: {counted(changes.new_photos, 'new photo', 'new photos')}"
    if changes.new_classes:
        yield f"  new classes, behind the others: {first_few(changes.new_classes, 20)}"
    if changes.tags:
        count = counted(len(changes.tags), "photo", "photos")
        yield f"  other tags: {count}: {first_few(changes.tags)}"
    if changes.other:
        yield f"  another group or split: {first_few(changes.other)}"
