"""Tells UTF-16 and UTF-32 from UTF-8 by the first bytes of a text. Pure Python."""

import codecs

from pipeline.errors import UserError

HEAD_BYTES = 1 << 16  # how much of a text is looked at

_MARKS = {  # byte order marks; that of UTF-32 begins with that of UTF-16
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_FEWEST_BYTES = 8  # fewer show no pattern
_FEWEST_NEWLINES = 4
_MOST, _FEW = 0.5, 0.05  # shares of NUL bytes


def wide_encoding(head: bytes) -> str | None:
    """The name of a text's encoding if its characters have two or four bytes each.

    It is told by a byte order mark. Without one, it is told by the NUL bytes, because in these encodings the characters
    of ASCII, such as the space, consist of one other byte and NUL bytes at fixed places. A text that merely holds NUL
    bytes, such as a sparse file, has them anywhere.

    Args:
        head: the first bytes of the text, at most HEAD_BYTES of which are looked at.

    Returns:
        A name that iconv knows, or None if the encoding is none of these.
    """
    head = head[:HEAD_BYTES]
    for mark, name in _MARKS.items():
        if head.startswith(mark):
            return name
    if len(head) < _FEWEST_BYTES or b"\0" not in head:
        return None
    nul = [head[place::4].count(0) / len(head[place::4]) for place in range(4)]  # share of NUL by position modulo 4
    if nul[3] == 1 and nul[2] > _MOST > nul[0]:
        return "UTF-32LE"
    if nul[0] == 1 and nul[1] > _MOST > nul[3]:
        return "UTF-32BE"
    for name, low in (("UTF-16LE", 0), ("UTF-16BE", 1)):  # the place of a character's low byte
        high = 1 - low
        if max(nul[low], nul[low + 2]) < _FEW and min(nul[high], nul[high + 2]) > _MOST:
            return name
        # In a text that is not in Latin letters, few high bytes are NUL, but that of a newline always is.
        wide = sum(pair == (ord("\n"), 0) for pair in zip(head[low::2], head[high::2], strict=False))
        if wide >= max(_FEWEST_NEWLINES, 0.9 * head.count(b"\n")):
            return name
    return None


def check_encoding(path: str, head: bytes) -> None:
    """Raises UserError if the first bytes of a file, uncompressed, tell that its text is UTF-16 or UTF-32."""
    if name := wide_encoding(head):
        raise UserError(f"--input {path} is {name}: expected UTF-8; convert it with iconv -f {name} -t UTF-8")
