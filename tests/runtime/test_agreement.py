"""Processes that differ are told in what."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from scenes import OneRank, run_on_ranks

from tag2mask.errors import NodesError
from tag2mask.runtime.agreement import check_same, installed_version
from tag2mask.version import __version__

HOST = socket.gethostname()


def compare(*values: dict[str, str]) -> None:
    def step(rank: Any) -> None:
        check_same(rank, values[rank.rank], fix="Do something.")

    run_on_ranks(step, len(values))


def test_the_same_is_no_error() -> None:
    compare({"a": "1"}, {"a": "1"}, {"a": "1"})
    check_same(OneRank(), {"a": "1"})  # type: ignore[arg-type]


def test_the_first_difference_is_named_with_both_values() -> None:
    with pytest.raises(NodesError) as failed:
        compare({"a": "1", "b": "x"}, {"a": "1", "b": "x"}, {"a": "2", "b": "x"})
    assert str(failed.value) == (
        f"the nodes differ (1 difference): a is 1 on rank 0 (host {HOST}), 2 on rank 2 "
        f"(host {HOST}). Do something."
    )


def test_a_value_that_one_lacks_differs() -> None:
    with pytest.raises(NodesError, match=r"b is \(absent\) on rank 0 .*, 3 on rank 1"):
        compare({"a": "1"}, {"a": "1", "b": "3"})


def test_many_differences_are_counted() -> None:
    one, two = ({str(name): side for name in range(9)} for side in ("l", "r"))
    with pytest.raises(NodesError, match=r"9 differences.*and 6 more"):
        compare(one, two)


def test_the_version_names_the_source() -> None:
    assert installed_version().startswith(f"{__version__} (source ")
    assert installed_version() == installed_version()
