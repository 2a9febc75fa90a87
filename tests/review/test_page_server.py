"""What the page in Chromium says while its server is gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reviewed_run import reviewed_run
from served_page import (
    Served,
    close,
    loaded_photo,
    opened,
    press_and_wait,
    settle,
    wait_for_notice,
    wait_until_left,
)


def test_a_page_outlives_its_server(browser: Any, tmp_path: Path) -> None:
    server = Served(reviewed_run(tmp_path, 4))
    page = opened(browser, server.address)
    photo = loaded_photo(page)
    server.end()
    wait_for_notice(page, "server doesn't answer: start `tag2mask review` again and open")
    page.keyboard.press("b")
    wait_for_notice(page, "Not saved: the page's server doesn't answer")
    address, token = server.address.split("/?token=")
    port = ("--port", address.rpartition(":")[2])
    other = Served(server.run, *port)  # with a token of its own
    assert other.address != server.address
    wait_for_notice(page, "open the address that `tag2mask review` printed last")
    other.end()
    same = Served(server.run, *port, "--token", token)
    wait_until_left(page, photo)
    assert same.corrections.decisions[photo].verdict == "bad"
    close(page)
    same.end()


def restarted(server: Served) -> Served:
    """Kill a server and start another one at the same address."""
    address, token = server.address.split("/?token=")
    server.process.kill()
    server.process.communicate()
    return Served(server.run, "--port", address.rpartition(":")[2], "--token", token)


def test_a_page_and_its_next_server_know_the_same_decisions(browser: Any, tmp_path: Path) -> None:
    server = Served(reviewed_run(tmp_path, 4))
    first, second = opened(browser, server.address), opened(browser, server.address)
    photo = loaded_photo(first)
    for _ in range(2):
        first.keyboard.press("t")
        settle(first)
    other = restarted(server)
    press_and_wait(first, "b")
    assert other.corrections.decisions[photo].verdict == "bad"
    last = restarted(other)
    assert loaded_photo(second) == photo
    second.keyboard.press("u")  # this page doesn't know the decision of the other one
    wait_for_notice(second, "Not saved: this photo was decided meanwhile")
    assert last.corrections.decisions[photo].verdict == "bad"
    close(first)
    close(second)
    last.end()
