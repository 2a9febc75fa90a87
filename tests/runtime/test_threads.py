import threading
import time

import pytest

from tag2mask.runtime import threads as parallel
from tag2mask.runtime.threads import grouped, ordered_map

pytestmark = pytest.mark.smoke


def test_order_is_kept():
    def slow_first(i):
        time.sleep(0.02 if i == 0 else 0)
        return i * i

    assert list(ordered_map(slow_first, range(20), threads=3)) == [i * i for i in range(20)]


def test_work_ahead_is_bounded():
    begun = []
    results = ordered_map(lambda i: begun.append(i), iter(range(100)), threads=2)
    next(results)
    time.sleep(0.05)
    assert len(begun) <= 4
    results.close()


def test_work_ahead_does_not_grow_with_the_machine(monkeypatch):
    monkeypatch.setattr(parallel, "processors", lambda: 500)
    begun = []
    results = ordered_map(lambda i: begun.append(i), iter(range(1000)))
    next(results)
    time.sleep(0.05)
    assert len(begun) <= 2 * parallel.MAX_THREADS
    results.close()


def test_an_error_is_raised_in_order_and_ends_the_work():
    def fail_at_three(i):
        if i == 3:
            raise ValueError("three")
        return i

    taken = []
    before = set(threading.enumerate())
    with pytest.raises(ValueError, match="three"):
        for value in ordered_map(fail_at_three, range(1000), threads=2):
            taken.append(value)
    assert taken == [0, 1, 2]
    assert set(threading.enumerate()) <= before


def test_work_in_progress_is_told_when_no_result_is_taken_any_more() -> None:
    stopped = threading.Event()

    def wait(item: int) -> int:
        if item:
            assert stopped.wait(30)
        return item

    begun = time.monotonic()
    results = ordered_map(wait, range(10), 2, stopped=stopped)
    assert next(results) == 0 and not stopped.is_set()
    results.close()
    assert stopped.is_set() and time.monotonic() - begun < 10


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 500])
def test_blocks_keep_the_order(count: int) -> None:
    results = list(ordered_map(lambda x: 2 * x, range(count), 3, block=16))
    assert results == [2 * x for x in range(count)]


def test_equal_keys_are_grouped() -> None:
    found = list(grouped("abacbaabd", key=str, most=2, ahead=100))
    assert found == [["a", "a"], ["b", "b"], ["a", "a"], ["c"], ["b"], ["d"]]


def test_single_items_never_wait() -> None:
    taken = []
    groups = grouped((taken.append(i) or i for i in range(9)), key=lambda i: i % 3, most=1, ahead=5)
    assert next(groups) == [0]
    assert taken == [0]


def test_few_items_wait_and_the_oldest_group_goes_first() -> None:
    taken = []
    groups = grouped((taken.append(i) or i for i in range(100)), key=lambda i: i, most=8, ahead=3)
    for i, group in enumerate(groups):
        assert group == [i]
        assert len(taken) <= i + 4
    assert len(taken) == 100
