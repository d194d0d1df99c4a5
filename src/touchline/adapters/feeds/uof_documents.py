"""XML documents out of a recording: one alone, one a line, or many one after another.

Invariant: no document type is read, so nothing in a document expands or reaches out; a document is bounded, and a
broken one spoils no other.
"""

import re
from collections.abc import Iterator
from typing import Final
from xml.etree.ElementTree import Element, ParseError, fromstring  # see `_parsed`

from touchline.adapters.feeds.recordings import Malformed, Recording

DOCUMENT_BYTES_MAX: Final = 8 * 1024 * 1024
ROOT_TAG_LINES_MAX: Final = 100
_DECLARATION: Final = re.compile(r"\s*<\?xml[^>]*\?>")
# What may stand before the first tag: the declaration, comments, processing instructions.
_PROLOGUE: Final = re.compile(r"(?:\s++|<!--.*?-->|<\?.*?\?>)*+", re.DOTALL)
_ROOT: Final = re.compile(r"<([A-Za-z_][A-Za-z0-9_.:-]*)")
_DOCTYPE: Final = re.compile(r"<!(?!--|\[CDATA\[)")


class BadDocument(Exception):
    """A document, or one market of it, that can't be used; says why."""


def documents(recording: Recording, malformed: Malformed) -> Iterator[tuple[str, bytes, Element]]:
    """Yield each document: its place, its text and its root; what is none is noted in `malformed`."""
    lines: list[bytes] = []
    began = size = 0
    end = b""
    for number, line in recording.lines(malformed):
        if line.lstrip().startswith(b"<?xml"):
            _note_unended(lines, began, malformed)
            lines = []
        if not lines:
            began, size, end = number, 0, b""
        lines.append(line)
        size += len(line)
        try:
            if size > DOCUMENT_BYTES_MAX:
                raise BadDocument(f"a document of more than {DOCUMENT_BYTES_MAX} bytes")
            end = end or _end_of_document(lines)
            if not end or not line.rstrip().endswith(end):
                continue
            text = b"".join(lines)
            yield f"line {began}", text, _parsed(text)
        except BadDocument as wrong:
            malformed.note(f"line {began}", wrong)
        lines = []
    _note_unended(lines, began, malformed)


def _note_unended(lines: list[bytes], began: int, malformed: Malformed) -> None:
    if _without_prologue(lines):
        malformed.note(f"line {began}", "the document does not end")


def _without_prologue(lines: list[bytes]) -> str:
    return _PROLOGUE.sub("", b"".join(lines).decode("utf-8", "replace"), count=1)


def _end_of_document(lines: list[bytes]) -> bytes:
    """Return what the last line ends with, the root's end tag or "/>"; empty while the root's tag is not whole."""
    text = _without_prologue(lines)
    root = _ROOT.match(text)
    if text and root is None and not text.startswith(("<!--", "<?")):
        raise BadDocument("no XML document")
    tag, whole, _ = text.partition(">")
    if root is not None and whole:
        return b"/>" if tag.endswith("/") else f"</{root[1]}>".encode()
    if len(lines) > ROOT_TAG_LINES_MAX:
        raise BadDocument("the first tag does not end")
    return b""


def _parsed(text: bytes) -> Element:
    """Return the root of a document, its tags without their namespaces.

    Read as UTF-8 whatever it declares, so that a document type can't hide in another encoding.
    """
    try:
        plain = text.decode()
        if _DOCTYPE.search(plain):
            raise BadDocument("a document type is not read")
        root = fromstring(_DECLARATION.sub("", plain, count=1))  # noqa: S314  # no document type, so no entities
    except (ParseError, ValueError) as wrong:
        raise BadDocument(f"no XML document: {wrong}") from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root
