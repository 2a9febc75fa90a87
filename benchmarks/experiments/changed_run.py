"""``tag2mask`` with one name of a step's module replaced, for experiments on its code.

An experiment's own words come first, those of ``tag2mask`` behind them::

    python -m benchmarks.experiments.tags_alone.segmenter_tags --head 0.1 run --data DATA --out RUN

The folders of a run don't record what was replaced, so each experiment needs an ``--out`` of its
own, in which its step is not done yet.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from types import ModuleType
from unittest import mock

from tag2mask.cli.app import app


def parse(
    parser: argparse.ArgumentParser, words: Sequence[str] | None = None
) -> argparse.Namespace:
    """Return an experiment's options, and the words of ``tag2mask`` as ``command``."""
    parser.add_argument("command", nargs=argparse.REMAINDER, help="words of tag2mask")
    options = parser.parse_args(words)
    if not options.command:
        parser.error("give the words of tag2mask, such as `run --data DATA --out RUN`")
    return options


def run_changed(module: ModuleType, name: str, replacement: object, command: Sequence[str]) -> None:
    """Run ``tag2mask`` with ``module.name`` replaced; always raises SystemExit."""
    with mock.patch.object(module, name, replacement):
        app(list(command), prog_name="tag2mask")
