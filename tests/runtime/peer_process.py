"""One of several processes that watch each other: ``python peer_process.py RANK WORLD [PLACE]``.

It prints its place (on rank 0) and "ready", then does what its standard input says.
"""

from __future__ import annotations

import sys
import time

from tag2mask.errors import DataError, Tag2MaskError
from tag2mask.runtime import peers

GRACE_SECONDS = 1.0
"""Enough for these processes, which do nothing but end."""


def main(rank: int, world: int, port: int = 0, token: str = "") -> None:
    peers.GRACE_SECONDS = GRACE_SECONDS
    members = [peers.Member(number, f"host-{number}", 100 + number) for number in range(world)]
    if rank == 0:
        listener = peers.Listener()
        peers.start_watch(members, rank, listener)
        print(listener.port, listener.token, flush=True)
    else:
        try:
            peers.start_watch(members, rank, ("127.0.0.1", port, token))
        except Tag2MaskError as error:
            print(error, file=sys.stderr)
            sys.exit(4)
    print("ready", flush=True)
    how = sys.stdin.readline().strip()
    if how == "hang":
        time.sleep(60)
    if how == "error":
        peers.report_end(DataError("no photo"))
        time.sleep(2 * GRACE_SECONDS)
        sys.exit(5)
    if how == "bug":
        raise KeyError("a bug")
    if how == "broken connection":
        peers.report_end(RuntimeError("Connection closed by peer"))
        sys.exit(6)


if __name__ == "__main__":
    own, number, *place = sys.argv[1:]
    main(int(own), int(number), *([int(place[0]), place[1]] if place else []))
