"""Shows locations of sources and receivers without their secrets.

Users, paths and queries of URLs often hold a password or a stream's key. All messages, events and
summaries name a location by `show_location`.
"""

import os
import re
import unicodedata
from urllib.parse import unquote

HIDDEN = "***"
SCHEME = re.compile(r"[a-z][a-z0-9+.:-]*", re.IGNORECASE)
HOST = re.compile(r"([\w.-]*|\[[\w:.%]+\])(:\d{1,5})?")
NO_URL = re.compile(r"(avfoundation|decklink|dshow|v4l2):|[a-z]:\\", re.IGNORECASE)
"""Matches the names of cameras and cards, and paths of Windows. `lavfi:` may hold an address."""
PERHAPS_A_URL = re.compile(r":.*@|[?&].*=|=.*&", re.DOTALL)
"""Matches what a URL without its `://` would hold."""
URL = re.compile(r"(?<!\w)(?!file:)[a-z][a-z0-9+.-]*://\S*?(?=[:;,.)'\"]*(?:\s|$))", re.IGNORECASE)
"""Matches a URL in a text, without the punctuation behind it."""
BETWEEN_PARTS = re.compile(r"[:/@?#&=,;\s]+")
SHORTEST_PART = 3
UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Categories of Unicode: controls, surrogates, separators of lines and paragraphs."""
SURROGATE = re.compile("[\ud800-\udfff]")
"""Matches what Python gives for a byte of a file name that is not UTF-8."""
ESCAPED_BYTES = 0xDC80, 0xDCFF
"""Characters that Python gives for the bytes of a file name that are not UTF-8."""


def show_location(location: str) -> str:
    """Return a location in one line, with only scheme, host and port of a URL.

    A URL's path or query becomes `***`, and so does the host if an `@` follows it: it is then not
    certain where a password ends. Paths and `file:` URLs stay as they are, but `printable`.
    """
    scheme, found, rest = location.partition("://")
    if not found:
        is_url = PERHAPS_A_URL.search(location) and not NO_URL.match(location)
        is_url = is_url and not os.path.exists(location)  # noqa: PTH110
        return HIDDEN if is_url else printable(location)
    if scheme.lower() == "file":
        return printable(location)
    if not SCHEME.fullmatch(scheme):
        return HIDDEN
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    mark, tail = rest[len(authority) :][:1], rest[len(authority) :][1:]
    host = authority.rpartition("@")[2]
    if "@" in tail or not HOST.fullmatch(host):
        return f"{scheme}://{HIDDEN}"
    return f"{scheme}://{host}{mark}{HIDDEN if mark else ''}"


def without_secrets(text: str, *locations: str) -> str:
    """Return the text with its URLs as `show_location` shows them.

    Args:
        text: message, also one of another program.
        locations: locations that the text may repeat, whole or in parts.
    """
    for location in locations:
        text = text.replace(location, show_location(location))
    text = URL.sub(lambda url: show_location(url[0]), text)
    for location in locations:
        shown = show_location(location)
        for part in _parts(location):
            if part not in shown:
                text = re.sub(rf"(?<!\w){re.escape(part)}(?!\w)", HIDDEN, text)
    return printable(text)


def printable(text: str) -> str:
    """Return the text in one line that any file in UTF-8 can hold: other bytes as in `\\xe4`."""
    bad = {letter for letter in text if unicodedata.category(letter) in UNPRINTABLE}
    return text.translate({ord(letter): _escape(letter) for letter in bad}) if bad else text


def _escape(letter: str) -> str:
    number = ord(letter)
    if ESCAPED_BYTES[0] <= number <= ESCAPED_BYTES[1]:
        number &= 0xFF
    return f"\\x{number:02x}" if number <= 0xFF else f"\\u{number:04x}"


def _parts(location: str) -> list[str]:
    """Return what may stand between the marks of a URL, longest first."""
    if "://" not in location:
        return []
    parts = {part for whole in (location, unquote(location)) for part in BETWEEN_PARTS.split(whole)}
    return sorted((part for part in parts if len(part) >= SHORTEST_PART), key=len, reverse=True)
