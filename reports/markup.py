"""HTML built from values, so that text from a cluster can never become markup: only `tag` makes `Html`."""

from __future__ import annotations

import html
import re
from typing import Final

# Characters that HTML cannot carry, or that a terminal would obey: all controls but newline and tab.
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffe\uffff\ud800-\udfff]")
_VOID: Final = frozenset({"br", "link", "meta"})


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


Child = str | None


def visible(text: str) -> str:
    """Text with every control character, bidirectional override and lone surrogate shown as U+FFFD."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)


def join(*children: Child) -> Html:
    """One piece of markup from several; text is escaped, None is nothing."""
    return Html("".join(c if isinstance(c, Html) else html.escape(visible(c)) for c in children if c is not None))


def tag(name: str, /, *children: Child, **attributes: str | bool | None) -> Html:
    """An element. ``class_`` is ``class``, ``aria_label`` is ``aria-label``; True is a bare attribute, None is none."""
    parts = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        attribute = key.rstrip("_").replace("_", "-")
        parts.append(attribute if value is True else f'{attribute}="{html.escape(visible(value))}"')
    opening = f"<{' '.join(parts)}>"
    return Html(opening if name in _VOID else f"{opening}{join(*children)}</{name}>")
