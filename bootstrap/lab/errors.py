"""The one error of the lab: a sentence that says what to do."""

from __future__ import annotations


class LabError(Exception):
    """Something the person at the terminal can act on. The text is one or more whole sentences."""


class UnfitError(LabError):
    """The machine lacks something; found before anything was started. One line a problem."""
