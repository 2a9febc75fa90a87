"""A browser, and a run that is served to it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from reviewed_run import reviewed_run
from served_page import Served


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if os.environ.get("CI"):  # there, such tests must not be skipped
        assert chromium, "no Chromium found"
        import playwright.sync_api as playwright_api
        import starlette  # noqa: F401
    else:
        pytest.importorskip("starlette")
        playwright_api = pytest.importorskip("playwright.sync_api")
        if not chromium:
            pytest.skip("no Chromium found")
    with playwright_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    server = Served(reviewed_run(tmp_path, 24))
    yield server
    server.end()
