"""Validation photos that are drawn: shares, groups, and photos that were drawn before."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tag2mask.data.checks.inventory import inventory_problems
from tag2mask.data.inventory import Inventory, InventoryEntry, SourceOptions
from tag2mask.data.validation_draw import with_validation


def entry(id, tags="", group="", split="train"):
    return InventoryEntry(str(id), split, tuple(tags), f"{id}.jpg", "1-1", group=group)


def inventory(entries):
    names = sorted({tag for e in entries for tag in e.tags})
    return Inventory("csv", Path("/d"), tuple(names), tuple(entries), (), ("train",))


def draw(entries, fraction=0.2, known=None, **options):
    options = SourceOptions(val_fraction=fraction, **options)
    return with_validation(inventory(entries), options, lambda: known or {})


def splits(found):
    return {e.id: e.split for e in found.entries}


def count(found, tag=None):
    return sum(e.split == "val" and (tag is None or tag in e.tags) for e in found.entries)


def test_each_class_and_the_photos_without_one_have_their_share():
    entries = [entry(n, "a") for n in range(100)]
    entries += [entry(n, "b") for n in range(100, 120)] + [entry(n) for n in range(120, 170)]
    found = draw(entries)
    assert (count(found, "a"), count(found, "b"), count(found)) == (20, 4, 34)
    assert found.remarks == ("34 validation photos were drawn (prepare.val_fraction 0.2)",)
    assert found.problems == ()
    assert count(draw(entries, 0.5)) == 85


@pytest.mark.parametrize(("photos", "drawn"), [(1, 0), (2, 0), (3, 1), (5, 1), (8, 2)])
def test_rare_classes(photos, drawn):
    entries = [entry(n, "a") for n in range(20)] + [entry(f"b{n}", "ab") for n in range(photos)]
    assert count(draw(entries), "b") == drawn


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sets(st.sampled_from("abc")), st.integers(0, 12)), min_size=1, max_size=40
    ),
    fraction=st.sampled_from([0.1, 0.2, 0.5]),
)
def test_groups_stay_together_and_no_class_leaves_training(rows, fraction):
    entries = [entry(n, sorted(tags), f"g{group}") for n, (tags, group) in enumerate(rows)]
    found = draw(entries, fraction)
    own = {e.group: set() for e in entries}
    for e in found.entries:
        own[e.group].add(e.split)
    assert all(len(used) == 1 for used in own.values())
    train = {tag for e in found.entries if e.split == "train" for tag in e.tags}
    assert train == {tag for e in entries for tag in e.tags}
    assert splits(draw(entries[::-1], fraction)) == splits(found)


def test_later_photos_move_no_earlier_one():
    first = draw([entry(n, "ab"[n % 2], f"g{n // 2}") for n in range(60)])
    known = splits(first)
    more = [entry(f"new{n}", "abc"[n % 3], f"g{n}") for n in range(90)]
    second = draw([*(e._replace(split="train") for e in first.entries), *more], known=known)
    assert {id: split for id, split in splits(second).items() if id in known} == known
    group = {e.group: e.split for e in first.entries}
    assert all(e.split == group[e.group] for e in second.entries if e.group in group)
    share = Counter(e.split for e in second.entries if e.group not in group)
    assert 0.1 < share["val"] / share.total() < 0.3


def test_photos_that_were_prepared_for_training_stay_there():
    entries = [entry(n, "a") for n in range(20)]
    found = draw(entries, known=dict.fromkeys(map(str, range(20)), "train"))
    assert count(found) == 0 and "no validation photo was drawn" in found.problems[0].message
    assert found.problems[0].warning


def test_a_written_split_is_left_alone():
    entries = [*(entry(n, "a") for n in range(20)), entry("v", "a", split="val")]
    found = draw(entries)
    assert found == inventory(entries)
    [problem] = draw(entries, 0.3).problems
    assert "val_fraction is 0.3, but the data names 1 validation photo;" in problem.message
    assert not problem.warning
    [problem] = draw(entries, 0).problems
    assert not problem.warning


def test_none_is_drawn_where_none_is_wanted():
    entries = [entry(n, "a") for n in range(20)]
    [problem] = draw(entries, 0).problems
    assert problem.warning and "val_fraction is 0" in problem.message
    assert draw(entries, None) == draw(entries, val_split=None) == inventory(entries)
    assert draw([]) == inventory([])


def test_groups_in_both_splits_are_a_warning():
    entries = [entry("a", "a", "g"), entry("b", "a", "g", "val"), entry("c", "b", "h")]
    messages = [p.message for p in inventory_problems(inventory(entries)) if p.warning]
    assert any("1 group has photos in both splits" in m and "'g'" in m for m in messages)
    assert not any("both splits" in p.message for p in inventory_problems(inventory(entries[:1])))
