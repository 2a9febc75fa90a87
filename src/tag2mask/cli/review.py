"""The commands ``review`` and ``ask``: look at masks, correct them, and which ones first."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

Reviewed = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", help="Run folder, or folder written by `predict` or `masks import`."
    ),
]
PhotosOfPredictions = Annotated[
    Path | None,
    typer.Option("--photos", metavar="DIR", help="Photos of a folder written by `predict`."),
]
WrittenCorrections = Annotated[
    Path | None,
    typer.Option(
        "--corrections", metavar="DIR", help="Where decisions are; default: RUN/corrections."
    ),
]


def review(
    run: Reviewed,
    photos: PhotosOfPredictions = None,
    corrections: WrittenCorrections = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", min=0, max=65535, metavar="N", help="Port; default: 8765, or a free one."
        ),
    ] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", metavar="", help="Only print the address.")
    ] = False,
    host: Annotated[
        str,
        typer.Option(metavar="ADDRESS", help="Address to listen on; other machines may then ask."),
    ] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Token of the page's address, which others can see in the list of processes; "
            "default: random.",
        ),
    ] = None,
) -> None:
    """Look at masks in a browser, accept, reject and correct them."""
    from tag2mask.cli.console import print_text
    from tag2mask.cli.interrupts import end_quietly_on_interrupt
    from tag2mask.review.launch import review as serve

    end_quietly_on_interrupt()
    print_text(
        serve(
            run,
            photos=photos,
            corrections=corrections,
            host=host,
            port=port,
            token=token,
            browser=not no_browser,
            announce=print_text,
        )
    )


def ask(
    run: Reviewed,
    count: Annotated[
        int, typer.Option("--count", min=1, metavar="N", help="Number of photos to ask for.")
    ] = 50,
    photos: PhotosOfPredictions = None,
    corrections: WrittenCorrections = None,
    random_share: Annotated[
        float | None,
        typer.Option(
            "--random-share",
            min=0,
            max=1,
            metavar="X",
            help="Share of the photos that is sampled at random; default: 0.2.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, metavar="N", help="Seed of the random ones.")
    ] = 0,
) -> None:
    """List the photos whose corrections would teach most, for `review`."""
    from tag2mask.cli.console import print_text
    from tag2mask.cli.tables import show_asked
    from tag2mask.data.corrections.decisions import DECISIONS, read_decisions
    from tag2mask.data.corrections.folder import ASKED, Corrections
    from tag2mask.evaluation.random_looks import random_looks
    from tag2mask.review.ask import ASKED_TABLE, RANDOM_SHARE, earlier_list
    from tag2mask.review.ask import ask as choose
    from tag2mask.review.folder import open_review

    folder = open_review(run, photos, corrections)
    now = Corrections(folder.corrections, read_decisions(folder.corrections / DECISIONS))
    share = RANDOM_SHARE if random_share is None else random_share
    replaced = earlier_list(folder.corrections, now)
    show_asked(choose(folder, count, corrections=now, random_share=share, seed=seed))
    print_text(f"The whole list: {folder.corrections / ASKED}, {ASKED_TABLE}")
    if replaced:
        print_text(replaced)
    print_text(f"Look at them: {shlex.join(_review_command(run, photos, corrections))}")
    looks = random_looks(folder.first_masks, len(folder.classes), now)
    if looks is not None:
        print_text(looks.text)


def _review_command(run: Path, photos: Path | None, corrections: Path | None) -> list[str]:
    """Return the command that shows the photos asked for."""
    given = {"--photos": photos, "--corrections": corrections}
    options = [word for name, path in given.items() if path for word in (name, str(path))]
    return ["tag2mask", "review", str(run), *options]
