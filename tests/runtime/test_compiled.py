import threading
import time
from functools import partial

import numpy as np
import pytest

from tag2mask.runtime.compiled import BLOCK, Team, compiled


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [0, 1, BLOCK - 1, BLOCK, 10 * BLOCK + 1, 1000 * BLOCK])
def test_parts_cover_everything_once(threads, count):
    with Team(threads) as team:
        parts = team.parts(count)
    assert len(parts) <= threads
    assert [i for part in parts for i in range(*part)] == list(range(count))
    assert all(first % BLOCK == 0 and first < last for first, last in parts)


@pytest.mark.parametrize("threads", [1, 3])
def test_results_come_in_order_and_errors_are_raised(threads):
    before = threading.active_count()
    with Team(threads) as team:
        assert team.run((lambda i=i: i * i) for i in range(20)) == [i * i for i in range(20)]
        with pytest.raises(ZeroDivisionError):
            team.run([lambda: 1, lambda: 1 // 0, lambda: 2])
    assert threading.active_count() == before


def test_a_loop_that_cannot_be_cached_is_compiled():
    names = {}
    exec("def double(a):\n    for i in range(len(a)):\n        a[i] *= 2\n", names)  # in no file
    array = np.ones(3, np.float32)
    compiled(names["double"])(array)
    np.testing.assert_array_equal(array, 2)


def test_each_task_index_has_its_own_thread() -> None:
    with Team(3) as team:
        rounds = [team.run([threading.get_ident] * 7) for _ in range(5)]
    assert all(one == rounds[0] for one in rounds)
    assert rounds[0][:3] == rounds[0][3:6] and rounds[0][0] == threading.get_ident()
    assert len(set(rounds[0])) == 3


@pytest.mark.parametrize("place", [0, 1])
def test_an_error_is_raised_when_all_tasks_are_done(place: int) -> None:
    done = []

    def task(index: int) -> None:
        if index == place:
            raise ValueError("broken")
        time.sleep(0.05)
        done.append(index)

    with Team(2) as team, pytest.raises(ValueError, match="broken"):
        team.run([partial(task, index) for index in range(2)])
    assert done == [1 - place]
