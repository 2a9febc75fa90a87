"""``python -m tag2mask``: the same as the command ``tag2mask``."""

from tag2mask.cli import main

main()
