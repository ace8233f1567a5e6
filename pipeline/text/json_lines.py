"""JSON lines -> text: an object on each line, of which one field is taken. Needs no Beam.

The text is that of pipeline.text.columns. A line that is no JSON, or whose field is neither a string nor a list of
tokens, becomes an empty line and is counted.
"""

import contextlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pipeline.errors import UserError
from pipeline.text.columns import WHITE_SPACE, check_lists, mended_token, named
from pipeline.text.sources import Table

MAX_ROW_BYTES = 1 << 24  # a longer line is left out, so memory is bounded
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_ROWS_CHECKED = 1000
_decoder = json.JSONDecoder()
_HALVES = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # of characters, without those that stand for bytes


def rows_text(path: str, chunks: Iterable[bytes], table: Table, counts: Counter[str]) -> Iterator[bytes]:
    """The text of a field.

    Args:
        path: of the file, for messages.
        chunks: the file, or a part of it with whole lines, in pieces of any size.
        table: how to read it.
        counts: what was left out or mended is added to it, by counter name.

    Raises:
        UserError: the field is a list, but the tokeniser would change its tokens.
    """
    odd: Sequence[int] = ()
    texts: list[bytes] = []
    for lines in _lines(chunks, counts):
        if len(odd) < len(texts) or not texts:
            texts, odd = _lists_text(path, lines, table)
        else:  # it was of no use for the lines before
            texts, odd = [b""] * len(lines), range(len(lines))
        for number in odd:
            texts[number] = _text(path, lines[number], table, counts)
        yield b"\n".join([*texts, b""])


def check_rows(path: str, head: bytes, table: Table) -> None:
    """Checks the first rows of a file.

    Args:
        path: of the file.
        head: the file's first bytes.
        table: how to read it.

    Raises:
        UserError: no row is JSON, or has such a field, or has a string or a list of tokens there.
    """
    lines = [line for line in head.split(b"\n")[:_ROWS_CHECKED] if line.strip()]
    rows = [row for line in lines if isinstance(row := _parsed(line), dict)]
    if lines and not rows and b"\n" in head:
        raise UserError(
            f"--input {path} begins with {lines[0][:60]!r}: expected JSON lines, with an object on each line"
        )
    values = [row[table.column] for row in rows if table.column in row]
    if rows and not values:
        fields = list(dict.fromkeys(name for row in rows for name in row))
        raise UserError(f"--column {table.column}: --input {path} has {named(fields)}: expected one of these")
    values = [value for value in values if value is not None]
    if any(isinstance(value, list) for value in values):
        check_lists(path, table, True)
    if values and all(_value_text(value, Counter()) is None for value in values):
        raise UserError(
            f"--column {table.column}: --input {path} has values such as {json.dumps(values[0])[:60]} there: expected "
            "strings, or lists of strings or of whole numbers"
        )


def _lines(chunks: Iterable[bytes], counts: Counter[str]) -> Iterator[list[bytes]]:
    """Splits a stream into lines. One that is too long is counted and becomes an empty line."""
    rest, is_too_long = b"", False
    for chunk in chunks:
        *complete, rest = (rest + chunk).split(b"\n")
        if complete and is_too_long:
            complete[0], is_too_long = b"", False
        if len(rest) > MAX_ROW_BYTES or is_too_long:
            counts["rows_too_long"] += not is_too_long
            rest, is_too_long = b"", True
        if complete:
            yield complete
    if rest or is_too_long:
        yield [rest]


def _lists_text(path: str, lines: list[bytes], table: Table) -> tuple[list[bytes], Sequence[int]]:
    """The text of rows that are lists of tokens, in two thirds of the time that `_text` takes.

    Returns:
        The text of each row, and the numbers of the rows that are another thing or that must be mended.
    """
    rows: list[str] = []
    odd: list[int] = []
    num_tokens = num_spaces = 0  # the number of tokens, and of spaces and line ends between them
    for number, line in enumerate(b"\n".join(lines).decode(errors="surrogateescape").split("\n")):
        row = ""
        try:
            value, end = _decoder.raw_decode(line)
            tokens = value[table.column]
            if type(tokens) is list and end == len(line):
                row = " ".join(tokens)
                num_tokens += len(tokens)
                num_spaces += max(len(tokens), 1)
            else:
                odd.append(number)
        except (ValueError, RecursionError, LookupError, TypeError):
            odd.append(number)
        rows.append(row)
    if len(odd) < len(lines):
        check_lists(path, table, True)
    num_spaces += len(odd) - 1
    with contextlib.suppress(UnicodeEncodeError):  # half of a character
        text = "\n".join(rows).encode(errors="surrogateescape")
        # Then no token holds white space, and none is empty.
        if len(text) - len(text.translate(None, WHITE_SPACE)) == num_spaces and len(text.split()) == num_tokens:
            return text.split(b"\n"), odd
    return [b""] * len(lines), range(len(lines))


def _text(path: str, line: bytes, table: Table, counts: Counter[str]) -> bytes:
    """The text of a row; empty if it has none."""
    if not line or line.isspace():
        return b""
    row = _parsed(line)
    if row is None:
        counts["rows_not_json"] += 1
        return b""
    if not isinstance(row, dict):
        counts["rows_wrong_type"] += 1
        return b""
    if table.column not in row:
        counts["rows_without_column"] += 1
        return b""
    value = row[table.column]
    if value is None:
        counts["rows_null"] += 1
        return b""
    if isinstance(value, list):
        check_lists(path, table, True)
    text = _value_text(value, counts)
    if text is None:
        counts["rows_wrong_type"] += 1
        return b""
    return text


def _parsed(line: bytes) -> Any:
    """The value of a line, or None if it is no JSON. Bytes that are no UTF-8 are kept, and mended later."""
    try:
        return json.loads(line.removeprefix(_BYTE_ORDER_MARK).decode(errors="surrogateescape"))
    except (ValueError, RecursionError):
        return None


def _value_text(value: Any, counts: Counter[str]) -> bytes | None:
    """The text of a string or of a list of tokens; None if the value is neither."""
    if isinstance(value, str):
        return _encoded(value)
    if not isinstance(value, list):
        return None
    try:
        text = _encoded(" ".join(value))
    except TypeError:  # not all are strings
        return _tokens_text(value, counts)
    num_spaces = len(text) - len(text.translate(None, WHITE_SPACE))
    if num_spaces == max(len(value) - 1, 0) and len(text.split()) == len(value):
        return text  # the spaces are those between tokens, and no token is empty
    return _tokens_text(value, counts)


def _tokens_text(items: list[Any], counts: Counter[str]) -> bytes | None:
    """The text of a list of tokens; None if an item is neither a string, nor a whole number, nor null."""
    if any(item is not None and type(item) not in (str, int) for item in items):
        return None
    num_nulls = items.count(None)
    if num_nulls:
        counts["tokens_null"] += num_nulls
    tokens = [mended_token(_encoded(str(item)), counts) for item in items if item is not None]
    return b" ".join(filter(None, tokens))


def _encoded(text: str) -> bytes:
    """A string in UTF-8, never longer than it was in JSON. Bytes that were no UTF-8 are as they were."""
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:  # JSON can escape half of a character of UTF-16
        return _HALVES.sub("\ufffd", text).encode(errors="surrogateescape")
