"""``python -m tests.bench [--rounds N | --scale | --evidence RUN]``: what `make bench` runs; see docs/benchmarks.md."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from tests.bench.measured import BenchError
from tests.program import ProgramError

ROUNDS = 5


def main() -> int:
    """Exit code 0 where our limits hold, 1 where one does not, 2 where nothing could be measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"measured runs of each tool (default {ROUNDS})")
    parser.add_argument(
        "--scale", action="store_true", help="instead: 200 nodes, 5,000 pods, 500 namespaces simulated by KWOK"
    )
    parser.add_argument("--evidence", type=Path, metavar="RUN", help="instead: what the evidence of a run costs")
    chosen = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    try:
        if chosen.evidence:
            from tests.bench.evidence import evidence

            return 0 if evidence(chosen.evidence, console) else 1
        if chosen.scale:
            from tests.bench.scale import grow

            return 0 if grow(console) else 1
        from tests.bench.comparison import compare

        return 0 if compare(max(1, chosen.rounds), console) else 1
    except (BenchError, ProgramError) as error:
        console.print(f"bench: {error}", markup=False)
        return 2


if __name__ == "__main__":
    sys.exit(main())
