"""The command ``tag2mask``, and ``python -m tag2mask``.

The command line is imported inside ``main``: an interrupt may also come during the import.
"""

from __future__ import annotations

import io
import sys

from tag2mask.cli.interrupts import (
    catch_interrupts,
    end_interrupted,
    has_ended,
    stop_catching,
    was_interrupted,
)


def main() -> None:
    """Run the command line; always raises SystemExit."""
    try:
        _run()
    except BaseException as error:
        if not isinstance(error, SystemExit) or error.code:
            from tag2mask.runtime.meeting import report_early_end

            report_early_end()
        raise


def _run() -> None:
    """Run it, and end as interrupted where it was."""
    try:
        catch_interrupts()
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A name that the encoding of a pipe lacks, as on Windows, must not end finished work.
            sys.stdout.reconfigure(errors="backslashreplace")
        from tag2mask.cli.app import app

        app(prog_name="tag2mask")
    except KeyboardInterrupt:
        end_interrupted()
    except BaseException as error:
        done = isinstance(error, SystemExit) and error.code == 0
        if was_interrupted() and not (done or has_ended()):
            end_interrupted()
        raise
    finally:
        stop_catching()


if __name__ == "__main__":
    main()
