"""JSON is decoded from many threads at once, from the first use of a type on."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys, threading
import msgspec
from fixtures.decoding import decoded

THREADS, TYPES, FIELDS = 8, 100, 30
sys.setswitchinterval(1e-6)  # so that threads change in the middle of msgspec's work

def answer(shared, barrier, number, found):
    kind = msgspec.defstruct(f"Page{number}", [("item", shared)])
    barrier.wait()
    found.append(decoded(b'{"item": {"f0": {"a": 1}}}', kind).item.f0.a)

for turn in range(TYPES):
    inner = msgspec.defstruct("Inner", [("a", int)], frozen=True)
    fields = [(f"f{n}", inner, inner(0)) for n in range(FIELDS)]
    shared = msgspec.defstruct("Shared", fields)
    barrier, found = threading.Barrier(THREADS), []
    threads = [threading.Thread(target=answer, args=(shared, barrier, n, found)) for n in range(THREADS)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert found == [1] * THREADS, found
print("decoded")
"""


def test_a_type_may_be_used_first_by_many_threads_at_once() -> None:
    """Without the lock msgspec ends the process with SIGSEGV: it did once in a nightly run."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "decoded\n"), done.stderr
