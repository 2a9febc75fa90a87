"""Ctrl-C always ends the command with one line and 130, whatever code it meets."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SWALLOWED = {
    "by a finalizer": """
        class Slow:
            def __del__(self):
                begin()
                time.sleep(60)
        Slow()
        time.sleep(60)
    """,
    "by a library": """
        try:
            begin()
            time.sleep(60)
        except BaseException:
            pass
        time.sleep(60)
    """,
    "as another exception": """
        try:
            begin()
            time.sleep(60)
        except KeyboardInterrupt:
            raise ImportError("a module that is half imported") from None
    """,
    "while another thread fails": """
        import threading
        def fail():
            time.sleep(0.5)
            raise ValueError("the queue was closed")
        def wait():
            thread = threading.Thread(target=fail)
            thread.start()
            begin()
            try:
                time.sleep(60)
            finally:
                thread.join()
        wait()
    """,
    "not at all": "begin(); time.sleep(60)",
}


def interrupted(folder: Path, work: str, *, group: bool = False) -> tuple[int, str]:
    """Interrupt a command that does ``work``; return its exit code and what it prints."""
    code = (
        "import os, sys, time\n"
        "from tag2mask.cli import steps\n"
        "def begin():\n    print('at work', flush=True)\n"
        "def work(*_, **__):\n"
        + textwrap.indent(textwrap.dedent(work), "    ")
        + "\nsteps.load_chosen_recipe = work\n"
        "from tag2mask.__main__ import main\nmain()\n"
    )
    (folder / "worker.py").write_text(code)
    with subprocess.Popen(
        [sys.executable, "worker.py", "prepare", "--data", ".", "--out", "out"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        if group:
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    return process.returncode, stderr


@pytest.mark.parametrize("work", SWALLOWED.values(), ids=SWALLOWED)
def test_an_interrupt_is_never_lost(tmp_path: Path, work: str) -> None:
    code, stderr = interrupted(tmp_path, work)
    assert code == 130, stderr
    assert stderr == "interrupted; run the same command again to resume\n"


def test_processes_that_read_photos_end_quietly(tmp_path: Path) -> None:
    work = """
        child = os.fork()
        if child == 0:
            time.sleep(1.5)
            print("the child goes on", file=sys.stderr, flush=True)
            os._exit(0)
        try:
            begin()
            time.sleep(60)
        finally:
            os.waitpid(child, 0)
    """
    code, stderr = interrupted(tmp_path, work, group=True)
    assert code == 130, stderr
    assert "interrupted; run the same command again to resume\n" in stderr
    assert "Traceback" not in stderr


def test_an_interrupt_outside_of_a_command_is_reported_too(tmp_path: Path) -> None:
    """As while options are parsed; typer ends with 130 there, without a message."""
    (tmp_path / "worker.py").write_text(
        "import os, signal, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from tag2mask.cli import app\n"
        "def parse_args(*_):\n    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(60)\n"
        "app._Commands.parse_args = parse_args\n"
        "from tag2mask.__main__ import main\nmain()\n"
    )
    done = subprocess.run(
        [sys.executable, "worker.py", "recipe", "list"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 130, done.stderr
    assert done.stderr == "interrupted; run the same command again to resume\n"
