"""Takes the lease and holds it until its input ends: a run on another machine.

Usage: python -m tests.harness.holder SERVER RUN; prints its host's name, and ``held`` or why it may not hold it.
"""

from __future__ import annotations

import socket
import sys

from fixtures.kubernetes import Api
from fixtures.unobservable import Unobservable
from harness import lease

if __name__ == "__main__":
    server, run = sys.argv[1:]
    lease.this_machine = socket.gethostname  # two hosts of one machine, each without a look at the other
    lease.RENEW_EVERY_S = 1
    mine = lease.Lease(Api(server), "verify-system", run)
    try:
        mine.acquire()
        print(socket.gethostname(), "held", flush=True)
        sys.stdin.read()
        mine.release()
    except Unobservable as error:
        print(socket.gethostname(), error, flush=True)
