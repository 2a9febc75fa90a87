"""Who is answered where other machines may ask: any name of the machine, only with the token."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from reviewed_run import CLASSES, reviewed_run

from tag2mask.data.corrections.writing import open_corrections
from tag2mask.review.folder import open_review
from tag2mask.review.service import ReviewService

pytest.importorskip("starlette")
from starlette.testclient import TestClient

from tag2mask.review.server import review_app

TOKEN = "secret"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    run = reviewed_run(tmp_path, 4)
    if sys.platform == "linux":
        run = run.rename(run.with_name(os.fsdecode(b"run\xe9")))
    with open_corrections(run / "corrections", CLASSES) as writer:
        service = ReviewService(open_review(run), writer, lambda: open_review(run))
        yield TestClient(review_app(service, TOKEN, None), raise_server_exceptions=False)


@pytest.mark.parametrize(
    "host",
    ["x/assets/?", "x/assets/#", "/assets/", "a b", "x:", "x:y", "[x]", "x:1:2", "", "\u00e9"],
)
def test_a_host_that_is_no_name_opens_nothing(client: TestClient, host: str) -> None:
    headers = {"Host": host.encode()}
    for token in ("", TOKEN):
        for path in ("/", "/api/state", "/api/photos/0/photo"):
            answer = client.get(path, params={"token": token}, headers=headers)
            assert answer.status_code == 403 and answer.headers["x-content-type-options"]
        answer = client.post("/api/photos/0/decision", params={"token": token}, headers=headers)
        assert answer.status_code == 403


@pytest.mark.parametrize("host", ["machine", "m_1.lan:8765", "10.0.0.1:80", "[::1]:8765", "[::1]"])
def test_any_name_of_the_machine_is_answered(client: TestClient, host: str) -> None:
    headers = {"Host": host, "Origin": f"http://{host}"}
    assert client.get("/api/state", headers=headers).status_code == 403
    assert client.get("/assets/review.js", headers=headers).status_code == 200
    answer = client.get("/api/state", params={"token": TOKEN}, headers=headers)
    assert answer.status_code == 200


def test_a_folder_whose_name_is_not_utf_8_is_shown(client: TestClient) -> None:
    name = client.get("/api/state", params={"token": TOKEN}).json()["name"]
    assert name == ("run\\udce9" if sys.platform == "linux" else "run")


@pytest.mark.parametrize("place", ["9" * 5000, "9" * 10, "\u0661", "0x1", "1.0"])
def test_a_place_that_no_list_has_is_not_found(client: TestClient, place: str) -> None:
    for way in ("photo", "mask", "map", "thumbnail", "superpixels"):
        answer = client.get(f"/api/photos/{place}/{way}", params={"token": TOKEN})
        assert answer.status_code == 404
