"""HTML by construction: whatever isn't markup already is escaped, so that no name in the data can become any."""

from __future__ import annotations

import html
from collections.abc import Iterable

__all__ = ["Html", "element", "escape", "join"]

_VOID = {"br", "img", "input", "link", "meta", "wbr"}


class Html(str):
    """Markup. Made by the functions of this module, never from data."""

    __slots__ = ()


def escape(value: object) -> Html:
    """Text as markup; markup as it is; None as nothing.

    Control characters, and bytes of file names that are no text, are written as escapes.
    """
    if isinstance(value, Html):
        return value
    if value is None:
        return Html("")
    plain = str(value).encode("utf-8", "backslashreplace").decode()
    shown = "".join(one if one >= " " or one == "\n" else f"\\x{ord(one):02x}" for one in plain)
    return Html(html.escape(shown.replace("\x7f", "\\x7f"), quote=True))


def element(tag: str, *children: object, **attributes: object) -> Html:
    """<tag attributes>children</tag>, everything escaped that isn't `Html`.

    Attribute names may end in "_" where Python has the word itself, and "_" within stands for "-". False and None
    leave an attribute out, True gives its name alone.
    """
    written = "".join(_attribute(name, value) for name, value in attributes.items())
    inner = join(children)
    return Html(f"<{tag}{written}>") if tag in _VOID else Html(f"<{tag}{written}>{inner}</{tag}>")


def join(children: Iterable[object], between: str = "") -> Html:
    """All of them, one after the other."""
    return Html(escape(between).join(escape(child) for child in children))


def _attribute(name: str, value: object) -> str:
    plain = name.removesuffix("_").replace("_", "-")
    if value is None or value is False:
        return ""
    return f" {plain}" if value is True else f' {plain}="{escape(value)}"'
