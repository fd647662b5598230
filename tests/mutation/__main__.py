"""``python -m tests.mutation [--today | --module rbac]``: `make mutants`, and in `make test` a part of it each day."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime

from tests.mutation.explained import complaints
from tests.mutation.mutants import MutationError, functions, part_of, run

PARTS = 3


def main() -> int:
    """Exit code 0 where every survivor is explained, 1 where one is not, 2 where mutmut did not come to its end."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--today", action="store_true", help=f"one of {PARTS} parts, another each day")
    parser.add_argument("--module", default="", help="only functions of files with this in their path")
    asked = parser.parse_args()
    chosen = [function for function in functions() if asked.module in function.file]
    what = "all that judges"
    if asked.today:
        part = datetime.now(UTC).toordinal() % PARTS
        chosen = part_of(chosen, part, PARTS)
        what = f"part {part + 1} of {PARTS}, today's"
    print(f"mutants: {what}: {len(chosen)} functions", flush=True)
    try:
        outcome = run(chosen)
    except MutationError as error:
        print(f"mutants: {error}")
        return 2
    found = list(complaints(outcome, chosen))
    for complaint in found:
        print(f"mutants: {complaint}")
    print(f"mutants: {outcome.killed} seen by a case, {len(outcome.survivors)} not, {len(found)} to be looked at")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
