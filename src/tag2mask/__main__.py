"""The command ``tag2mask``, and ``python -m tag2mask``.

The command line is imported inside ``main``: an interrupt may come during the import, too.
"""

from __future__ import annotations

from tag2mask.cli.interrupts import end_interrupted


def main() -> None:
    """Run the command line; always raises SystemExit."""
    try:
        from tag2mask.cli.app import app
    except KeyboardInterrupt:
        end_interrupted()
    app(prog_name="tag2mask")


if __name__ == "__main__":
    main()
