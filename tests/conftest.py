"""What holds for every test of the product."""

import signal

import pytest

# Where tests run in the background (nohup, `&`, many CI runners), SIGINT and SIGHUP come ignored, and so they would to
# every program that a test starts and then interrupts. A handler of ours becomes the default in a program started.
signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)


def pytest_addoption(parser: pytest.Parser) -> None:
    """What some tests ask for."""
    parser.addoption(
        "--all-moments", action="store_true", help="interrupt runs on the lab at all forty moments, not today's alone"
    )
    parser.addoption(
        "--all-violations", action="store_true", help="seed all violations into the lab, not today's alone"
    )
