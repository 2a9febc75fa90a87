"""Who is answered, what is served, and what a decision writes, without a browser."""

from __future__ import annotations

import hashlib
import io
import json
import random
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from reviewed_run import CLASSES, reviewed_run

from small_runs import command, environment, invoke, wait_until
from tag2mask.data.corrections.folder import read_corrections
from tag2mask.data.corrections.writing import CorrectionsWriter, open_corrections
from tag2mask.data.masks import read_mask, write_mask
from tag2mask.errors import RunFolderError, Tag2MaskError
from tag2mask.review import launch, pictures
from tag2mask.review.folder import open_review
from tag2mask.review.launch import allowed_hosts, review
from tag2mask.review.service import ReviewService

pytest.importorskip("starlette")
from starlette.testclient import TestClient

from tag2mask.review.server import review_app

HOST, TOKEN = "127.0.0.1:1234", "secret"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return reviewed_run(tmp_path, 8)


@pytest.fixture
def writer(run: Path) -> Iterator[CorrectionsWriter]:
    with open_corrections(run / "corrections", CLASSES) as writer:
        yield writer


@pytest.fixture
def client(run: Path, writer: CorrectionsWriter) -> TestClient:
    service = ReviewService(open_review(run), writer, lambda: open_review(run))
    app = review_app(service, TOKEN, frozenset({HOST}))
    return TestClient(app, base_url=f"http://{HOST}", raise_server_exceptions=False)


def state(client: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/api/state", params={"token": TOKEN}).json()
    return found


def decide(client: TestClient, place: int, pixels: np.ndarray | None = None, **values: Any) -> Any:
    row = state(client)["photos"][place]
    known = {"photo": row["id"], "version": row["version"], "generation": 0}
    values = {"tags": row["tags"]} | known | values
    if pixels is not None:
        values["size"] = pixels.shape
    content = json.dumps(values).encode() + b"\n" + (b"" if pixels is None else pixels.tobytes())
    path = f"/api/photos/{place}/decision"
    return client.post(path, params={"token": TOKEN}, content=content)


def test_only_the_printed_address_is_answered(client: TestClient) -> None:
    page = client.get(f"/?token={TOKEN}")
    assert page.status_code == 200 and "<canvas" in page.text and not client.cookies
    assert client.get("/").status_code == 403
    assert client.get("/?token=other").status_code == 403
    assert client.get(f"/?token={TOKEN}", headers={"Host": "evil.example"}).status_code == 403
    origin = {"Origin": "http://evil.example"}
    assert client.get("/api/state", params={"token": TOKEN}, headers=origin).status_code == 403
    assert client.get("/api/state", headers={"X-Token": TOKEN}).status_code == 200
    for path in ("state", "alive", "photos/0/photo", "photos/0/mask", "photos/0/thumbnail"):
        assert client.get(f"/api/{path}").status_code == 403, path
    foreign: tuple[dict[str, str], ...] = (origin, {"Host": "evil.example"})
    decide(client, 0, verdict="bad")
    for path in ("decision", "undo"):
        content = json.dumps({"verdict": "good", "tags": [], "version": 1, "generation": 0})
        url = f"/api/photos/0/{path}"
        assert client.post(url, content=content).status_code == 403
        for headers in foreign:
            answer = client.post(url, params={"token": TOKEN}, content=content, headers=headers)
            assert answer.status_code == 403
    assert state(client)["photos"][0]["verdict"] == "bad"
    assert not (client.get("/").headers.keys() & {"server", "set-cookie"})


def test_the_page_loads_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get(f"/?token={TOKEN}")
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert loaded == ["data:,", "/assets/review.css", "/assets/review.js"]
    kinds = {".js": "text/javascript", ".css": "text/css"}
    due, seen = loaded[1:], {"page.html"}
    while due:
        path = Path(due.pop())
        answer = client.get(path.as_posix())
        assert answer.status_code == 200 and "http" not in re.sub(r"//[^\n]*", "", answer.text)
        assert answer.headers["content-type"] == f"{kinds[path.suffix]}; charset=utf-8"
        seen.add(path.name)
        imported = re.findall(r'^import (?:.* from )?"\./([^"]+)";$', answer.text, re.MULTILINE)
        due += [f"/assets/{name}" for name in imported if name not in seen]
    assert seen == {file.name for file in (resources.files("tag2mask.review") / "assets").iterdir()}
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../server.py",
        "/assets/%2e%2e/server.py",
        "/assets/..%2fserver.py",
        "/api/photos/..%2f..%2fetc/photo",
        "/api/photos/999/photo",
        "/api/photos/-1/photo",
        "/etc/passwd",
    ],
)
def test_no_other_file_is_served(client: TestClient, path: str) -> None:
    answer = client.get(path, params={"token": TOKEN})
    assert answer.status_code in (400, 404)


def test_masks_are_named_not_pathed(client: TestClient) -> None:
    for name in ("../masks", "/etc", "", "drawn"):
        answer = client.get("/api/photos/0/mask", params={"token": TOKEN, "name": name})
        assert answer.status_code == 404


def test_pictures_of_a_photo(client: TestClient, run: Path) -> None:
    photo = state(client)["photos"][0]
    for path in ("photo", "thumbnail"):
        answer = client.get(f"/api/photos/0/{path}", params={"token": TOKEN})
        assert answer.headers["content-type"] == "image/jpeg"
    answer = client.get("/api/photos/0/mask", params={"token": TOKEN, "name": "pseudo mask"})
    mask = read_mask(run / "pseudo-masks" / "masks" / f"{photo['id']}.png", 3)
    assert np.array_equal(np.frombuffer(answer.content, np.uint8).reshape(mask.shape), mask)
    regions = client.get("/api/photos/0/superpixels", params={"token": TOKEN})
    assert np.frombuffer(regions.content, np.uint16).size == mask.size
    scores = client.get("/api/photos/0/map", params={"token": TOKEN})
    assert scores.headers["x-width"] == "8" and len(scores.content) == 48


def test_decisions_are_written(client: TestClient, run: Path) -> None:
    photos = state(client)["photos"]
    assert decide(client, 0, verdict="bad").json()["verdict"] == "bad"
    accepted = decide(client, 1, verdict="good", mask="network").json()
    assert accepted["verdict"] == "good" and accepted["version"] != photos[1]["version"]
    found = read_corrections(run / "corrections")
    network = run / "predict" / "masks" / f"{photos[1]['id']}.png"
    assert np.array_equal(read_mask(found.masks()[photos[1]["id"]], 3), read_mask(network, 3))
    assert found.decisions[photos[0]["id"]].origin == "review"
    assert all(
        found.decisions[p["id"]].looked_at == pseudo_digest(run, p["id"]) for p in photos[:2]
    )
    tags = decide(client, 1, verdict="bad", tags=["bird"], tags_only=True).json()
    assert tags["verdict"] == "good" and tags["tags"] == ["bird"]
    drawn = np.full(read_mask(network, 3).shape, 2, np.uint8)
    row = decide(client, 1, drawn, verdict="corrected").json()
    assert row["masks"][0] == "drawn"
    again = decide(client, 1, verdict="good", mask="drawn").json()
    assert again["verdict"] == "corrected"  # it stays a drawn mask
    last = read_corrections(run / "corrections")
    assert np.array_equal(read_mask(last.masks()[photos[1]["id"]], 3), drawn)


def pseudo_digest(run: Path, photo: str) -> str:
    content = (run / "pseudo-masks" / "masks" / f"{photo}.png").read_bytes()
    return hashlib.sha256(content).hexdigest()


def test_tags_alone_are_no_look_at_a_mask(client: TestClient, writer: CorrectionsWriter) -> None:
    photo = state(client)["photos"][0]["id"]
    decide(client, 0, verdict="bad", tags=["bird"], tags_only=True)
    assert not writer.decisions[photo].looked_at
    decide(client, 0, verdict="bad")
    looked_at = writer.decisions[photo].looked_at
    decide(client, 0, verdict="bad", tags=[], tags_only=True)
    assert writer.decisions[photo].looked_at == looked_at != ""


def test_an_accepted_mask_is_shown_again_and_undo_brings_it_back(
    client: TestClient, run: Path
) -> None:
    photo = state(client)["photos"][0]["id"]
    network = read_mask(run / "predict" / "masks" / f"{photo}.png", 3)
    row = decide(client, 0, verdict="good", mask="network").json()
    assert row["masks"] == ["accepted", "pseudo mask", "network"]
    assert decide(client, 0, verdict="good", mask="accepted").json()["verdict"] == "good"
    assert np.array_equal(corrected_mask(run, photo), network)
    drawn = np.full(network.shape, 2, np.uint8)
    assert decide(client, 0, drawn, verdict="corrected").json()["masks"][0] == "drawn"
    decide(client, 0, verdict="good", mask="pseudo mask")
    assert undo(client, 0)["verdict"] == "corrected"
    assert np.array_equal(corrected_mask(run, photo), drawn)
    assert undo(client, 0)["verdict"] == "good"
    assert np.array_equal(corrected_mask(run, photo), network)
    undo(client, 0)
    assert undo(client, 0)["verdict"] is None
    assert not read_corrections(run / "corrections").mask_file(photo).is_file()
    assert "taken back" in undo(client, 0)["error"]


def corrected_mask(run: Path, photo: str) -> np.ndarray:
    return read_mask(read_corrections(run / "corrections").mask_file(photo), 3)


def undo(client: TestClient, place: int) -> dict[str, Any]:
    row = state(client)["photos"][place]
    content = json.dumps({"photo": row["id"], "version": row["version"], "generation": 0})
    path = f"/api/photos/{place}/undo"
    found: dict[str, Any] = client.post(path, params={"token": TOKEN}, content=content).json()
    return found


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({"verdict": "great"}, 400),
        ({"verdict": "good", "mask": "nothing"}, 400),
        ({"verdict": "bad", "tags": ["fish"]}, 400),
        ({"verdict": "bad", "tags": "cat"}, 400),
        ({"verdict": "bad", "version": 7}, 409),
        ({"verdict": "bad", "generation": 7}, 409),
        ({"verdict": "bad", "photo": "of an earlier order"}, 409),
    ],
)
def test_impossible_decisions_are_refused(
    client: TestClient, writer: CorrectionsWriter, values: dict[str, Any], status: int
) -> None:
    assert decide(client, 0, **values).status_code == status
    assert not writer.decisions


def test_impossible_masks_are_refused(client: TestClient, writer: CorrectionsWriter) -> None:
    assert decide(client, 0, np.zeros((3, 3), np.uint8), verdict="corrected").status_code == 400
    height, width = pictures.view_size((48, 64))
    wrong = np.full((height, width), 9, np.uint8)
    for place in range(8):
        assert decide(client, place, wrong, verdict="corrected").status_code == 400
    large = client.post(
        "/api/photos/0/decision", params={"token": TOKEN}, content=b"x" * (6 * 10**6)
    )
    assert large.status_code == 413
    for content in (b"\xff\n", b"[]\n", b"7"):
        bad = client.post("/api/photos/0/decision", params={"token": TOKEN}, content=content)
        assert bad.status_code == 400
    assert not writer.decisions


def test_a_huge_mask_keeps_its_own_pixels_where_nothing_was_drawn() -> None:
    full = np.zeros((4000, 3000), np.uint8)
    full[::2] = 1
    view = pictures.sampled(full, pictures.view_size((4000, 3000)))
    assert max(view.shape) == pictures.VIEW_SIDE
    edited = view.copy()
    edited[:100, :100] = 2
    merged = pictures.merged_edit(full, edited)
    assert (merged[:249, :249] == 2).all()
    assert np.array_equal(merged[260:], full[260:]) and np.array_equal(
        merged[:, 260:], full[:, 260:]
    )


def test_a_folder_of_predictions_is_reviewed_beside_it(run: Path, tmp_path: Path) -> None:
    predictions = run / "predict"
    with pytest.raises(RunFolderError, match="Give the photos with --photos"):
        open_review(predictions)
    folder = open_review(predictions, tmp_path / "photos")
    assert len(folder.photos) == 8 and list(folder.masks) == ["network"]
    assert folder.corrections == run / "predict-corrections"
    with open_corrections(folder.corrections, folder.classes) as writer:
        service = ReviewService(folder, writer, lambda: folder)
        values = {"verdict": "good", "mask": "network", "tags": [], "version": "", "generation": 0}
        service.decide(0, values | {"photo": service.photos[0].id}, None)
    found, photo = read_corrections(run / "predict-corrections"), service.photos[0].id
    assert found.decisions[photo].verdict == "good" and found.class_names == CLASSES.names
    accepted = read_mask(found.masks()[photo], 3)
    assert np.array_equal(accepted, read_mask(predictions / "masks" / f"{photo}.png", 3))
    assert not (run / "corrections").exists()
    with pytest.raises(RunFolderError, match="no run folder"):
        open_review(tmp_path / "nowhere")
    with pytest.raises(RunFolderError, match="neither a run with a prepare folder nor"):
        open_review(tmp_path / "photos")


def test_imported_masks_are_reviewed_beside_them(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "sam"
    masks = run / "predict" / "masks"
    done = invoke("masks", "import", masks, "--data", run, "--out", out, "--model", "SAM")
    assert done.exit_code == 0, done.output
    folder = open_review(out)
    assert folder.corrections == tmp_path / "sam-corrections"
    assert [photo.id for photo in folder.photos] == [photo.id for photo in open_review(run).photos]
    with open_corrections(folder.corrections, folder.classes) as writer:
        service = ReviewService(folder, writer, lambda: open_review(out))
        values = {"verdict": "good", "mask": "mask", "tags": [], "version": "", "generation": 0}
        row = service.decide(0, values | {"photo": service.photos[0].id}, None)
    assert row["masks"] == ["accepted", "mask"] and folder.photos[0].tags
    assert invoke("ask", out, "--count", "2").exit_code == 0
    (run / "prepare").rename(tmp_path / "gone")
    with pytest.raises(RunFolderError, match="prepare folder of these masks is missing"):
        open_review(out)


def test_the_port_of_http_is_left_out_by_browsers() -> None:
    assert allowed_hosts("127.0.0.1", 80) >= {"127.0.0.1", "localhost", "127.0.0.1:80"}
    assert allowed_hosts("127.0.0.1", 81) == {"127.0.0.1:81", "localhost:81"}
    assert allowed_hosts("::1", 81) == {"[::1]:81"}
    assert allowed_hosts("0.0.0.0", 81) is None


def started(run: Path, *options: str, browser: bool = False) -> tuple[subprocess.Popen[str], str]:
    """Start the command and return the address that it prints at once, into a pipe."""
    words = [] if browser else ["--no-browser"]
    process = subprocess.Popen(
        command("review", run, *words, *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    lines = [process.stdout.readline()]
    while lines[-1] and not lines[-1].startswith("http"):
        lines.append(process.stdout.readline())
    assert lines[-1], process.communicate()
    return process, "".join(lines)


def test_a_port_in_use_is_replaced_and_a_second_server_refused(run: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process, printed = started(run, "--port", port)
    assert f"port {port} is in use" in printed and f":{port}/" not in printed
    second = subprocess.run(
        command("review", run, "--no-browser"),
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert second.returncode == 1 and "another process is working in this folder" in second.stderr
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert output.endswith("0 photos of 8 decided\n") and "Traceback" not in errors


def test_a_browser_is_told_the_address_in_a_file_that_no_other_user_can_read(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import httpx

    browser, told, opened = (tmp_path / name for name in ("browser", "told", "opened"))
    browser.write_text(
        f'#!/bin/sh\nprintf %s "$*" > {told}\n'
        f'cp -p "${{1#file://}}" {opened}.part\nmv {opened}.part {opened}\n'
    )
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    process, printed = started(run, "--port", "0", browser=True)
    address, token = printed.strip(), printed.strip().partition("=")[2]
    wait_until(process, opened.is_file)
    file = Path(told.read_text().removeprefix("file://"))
    assert token not in str(file) and f'href="{address}"' in opened.read_text()
    assert opened.stat().st_mode & 0o777 == 0o600 and file.parent.stat().st_mode & 0o777 == 0o700
    assert httpx.get(address.replace("/?", "/api/state?")).status_code == 200
    wait_until(process, lambda: not file.parent.exists())
    process.terminate()
    output, errors = process.communicate()
    assert "no browser" not in output and not errors


@pytest.mark.parametrize("found", [False, True])
def test_a_page_that_no_browser_opens_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: bool
) -> None:
    said: list[str] = []
    monkeypatch.setattr(launch, "BROWSER_SECONDS", 0.01)
    monkeypatch.setattr("webbrowser.open", lambda _: found)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    launch._open_in_browser("http://127.0.0.1:1/?token=x", threading.Event(), said.append)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    launch._open_in_browser("http://127.0.0.1:1/?token=x", threading.Event(), said.append)
    assert said == ["no browser has opened the page: open the address above"] * 2


def test_any_token_of_text_is_part_of_an_address_that_works(run: Path) -> None:
    import httpx

    token = "a&b#c+d%e/f=g?é h"
    process, printed = started(run, "--port", "0", "--token", token)
    try:
        address = printed.strip()
        assert httpx.get(address).status_code == 200
        assert httpx.get(address.replace("%26", "&")).status_code == 403
        url = address.partition("?")[0]
        assert httpx.get(f"{url}api/state", params={"token": token}).status_code == 200
    finally:
        process.terminate()
        process.communicate()


@pytest.mark.parametrize("token", ["", "a\nb", "\udcff", "x" * 201])
def test_a_token_that_no_address_can_have_is_refused(run: Path, token: str) -> None:
    with pytest.raises(Tag2MaskError, match=r"can't be in an address.*--token"):
        review(run, token=token, browser=False)
    assert not (run / "corrections").exists()


@pytest.mark.parametrize("host, local", [("0.0.0.0", "127.0.0.1"), ("::", "[::1]")])
def test_the_address_for_other_machines_is_printed_too(run: Path, host: str, local: str) -> None:
    process, printed = started(run, "--port", "0", "--host", host)
    assert process.stdout is not None
    address = printed.strip()
    assert address.startswith(f"http://{local}:")
    expected = address.replace(local, socket.gethostname())
    assert process.stdout.readline() == f"from other machines: {expected}\n"
    process.terminate()
    process.communicate()


def check_kills(run: Path, kills: int) -> None:
    """Draw over HTTP until the server is killed, mostly while it answers.

    Every answered decision is in the folder with its mask, or a later one that wasn't answered.
    """
    import httpx

    moments, drawing = random.Random(0), np.random.default_rng(0)
    ids = sorted(photo.id for photo in open_review(run).photos)[:3]
    sizes = {id: mask_size(run, id) for id in ids}
    kept: dict[str, tuple[str, np.ndarray]] = {}
    for _ in range(kills):
        process, printed = started(run, "--port", "0", "--token", TOKEN)
        address = printed.split("/?")[0].split("http://")[-1]
        killer = threading.Timer(moments.uniform(0, 0.2), process.kill)
        asked: tuple[str, str, np.ndarray] | None = None
        with (
            suppress(httpx.TransportError),
            httpx.Client(base_url=f"http://{address}", params={"token": TOKEN}) as client,
        ):
            rows = client.get("/api/state").json()["photos"]
            places = {row["id"]: place for place, row in enumerate(rows)}
            killer.start()
            while True:
                photo = moments.choice(ids)
                verdict = moments.choice(["corrected", "good"])
                mask = drawing.integers(0, 4, sizes[photo], np.uint8)
                if verdict == "good":
                    mask = read_mask(run / "pseudo-masks" / "masks" / f"{photo}.png", 3)
                row = rows[places[photo]]
                values = {
                    "verdict": verdict,
                    "tags": row["tags"],
                    "mask": "pseudo mask",
                    "photo": photo,
                    "version": row["version"],
                    "generation": 0,
                    "size": mask.shape,
                }
                content = json.dumps(values).encode() + b"\n"
                if verdict == "corrected":
                    content += mask.tobytes()
                asked = (photo, verdict, mask)
                answer = client.post(f"/api/photos/{places[photo]}/decision", content=content)
                assert answer.status_code == 200, answer.text
                rows[places[photo]] = answer.json()
                kept[photo] = (verdict, mask)
        killer.join()
        process.communicate()
        found = read_corrections(run / "corrections")
        files = found.masks()
        assert kept.keys() <= files.keys()
        for photo, file in files.items():
            now = (str(found.decisions[photo].verdict), read_mask(file, 3))
            allowed = [kept[photo]] if photo in kept else []
            allowed += [asked[1:]] if asked is not None and asked[0] == photo else []
            assert any(now[0] == one[0] and np.array_equal(now[1], one[1]) for one in allowed)
            kept[photo] = now


def mask_size(run: Path, photo: str) -> tuple[int, int]:
    height, width = read_mask(run / "pseudo-masks" / "masks" / f"{photo}.png", 3).shape
    return height, width


def test_no_answered_decision_is_lost_by_a_kill(run: Path) -> None:
    check_kills(run, 2)


@pytest.mark.slow
def test_no_answered_decision_is_lost_by_a_hundred_kills(run: Path) -> None:
    check_kills(run, 100)


def test_a_photo_of_a_hundred_megapixels_is_shown_small(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    Image.new("RGB", (12000, 8400), (90, 120, 60)).save(path, quality=30)
    with Image.open(io.BytesIO(pictures.photo_view(path))) as shown:
        assert max(shown.size) == pictures.VIEW_SIDE


PEAK = """
import resource, sys
from pathlib import Path
from tag2mask.review import pictures
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
photo, mask = map(Path, sys.argv[1:])
pictures.thumbnail(photo, 0)
pictures.photo_view(photo)
view = pictures.mask_view(mask, 3)
pictures.superpixels(photo, view.shape)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_a_photo_of_a_hundred_megapixels_takes_bounded_memory(tmp_path: Path) -> None:
    photo, mask = tmp_path / "large.jpg", tmp_path / "mask.png"
    Image.new("RGB", (12000, 8400), (90, 120, 60)).save(photo, quality=30)
    write_mask(mask, np.zeros((8400, 12000), np.uint8), CLASSES.colors)
    arguments = [sys.executable, "-c", PEAK, str(photo), str(mask)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, env=environment())
    assert int(done.stdout) < 400, "MiB; the photo alone has 288"
