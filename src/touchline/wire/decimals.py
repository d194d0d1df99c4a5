"""Decimals on the wire: strings in answers, strings or numbers in requests, read exactly as they were written."""

import msgspec

from touchline.core.errors import Code, Rejection


def decimal_text(field: str, raw: msgspec.Raw) -> str:
    """Return the decimal in `raw` as its own text, so that no float is ever made of it.

    Raises:
        Rejection: MALFORMED: neither a JSON string nor a number.
    """
    content = bytes(raw)
    if content[:1] == b'"':
        try:
            return msgspec.json.decode(content, type=str)
        except (msgspec.DecodeError, UnicodeDecodeError):  # nobody has read it before
            raise Rejection(Code.MALFORMED, f"{field} must be text in UTF-8", field=field) from None
    if content[:1].isdigit() or content[:1] == b"-":
        return content.decode()
    raise Rejection(Code.MALFORMED, f"{field} must be a decimal, as a string or a number", field=field)
