"""Columns of tables -> text. Needs no Beam.

The text of a column is what a text file would hold that has one line for each row. A string is written as it is, so one
with line ends makes several lines. A list is written as its tokens, with spaces between them. A row without a value is
an empty line.

No token of a list holds white space, because files of vectors and the tokeniser `whitespace` end a word there. White
space at the ends of a token is removed, and each character of white space inside becomes `_`. NUL counts as white
space, because text cannot hold it. Tokens that are empty are left out.

A struct with one field counts as that field. Some programs store each list, and each item of a list, in such a struct:
BigQuery does if the table was loaded from Parquet without its list inference.
"""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import UserError
from pipeline.text.sources import Table

WHITE_SPACE = b"\t\n\v\f\r \0"
_UNDERSCORES = bytes.maketrans(WHITE_SPACE, b"_" * len(WHITE_SPACE))
_CLASS = r"[\t\n\v\f\r \x00]"  # as a regular expression
_MOST_NAMES = 20  # of columns in a message


def holds_lists(kind: pa.DataType) -> bool | None:
    """Whether a column of a type holds lists of tokens (True) or strings (False); None if it can be neither."""
    kind = _unwrapped(kind)
    if _is_list(kind):
        item = _plain(_unwrapped(kind.value_type))
        return True if _is_string(item) or pa.types.is_integer(item) or pa.types.is_null(item) else None
    kind = _plain(kind)
    return False if _is_string(kind) or pa.types.is_null(kind) else None


def column_text(column: pa.Array, counts: Counter[str]) -> bytes:
    """The text of a column, a line for each row.

    Args:
        column: [rows], of a type for which `holds_lists` is not None.
        counts: what was left out or mended is added to it, by counter name.
    """
    column = _values(column)
    if column.null_count:
        counts["rows_null"] += column.null_count
    lines = _joined(column, counts) if _is_list(column.type) else pc.fill_null(_as_bytes(column), b"")
    if not len(lines):
        return b""
    everything = pa.LargeListArray.from_arrays(pa.array([0, len(lines)], pa.int64()), lines)
    text: bytes = pc.binary_join(everything, _scalar(b"\n"))[0].as_py()
    return text + b"\n"


def mended_token(token: bytes, counts: Counter[str]) -> bytes:
    """A token of a list without white space; empty if nothing is left of it. What was mended is counted."""
    mended = token.strip(WHITE_SPACE).translate(_UNDERSCORES)
    if mended != token:
        counts["tokens_with_white_space"] += 1
    if not mended:
        counts["tokens_empty"] += 1
    return mended


def check_lists(path: str, table: Table, lists: bool) -> None:
    """Raises UserError if a column holds lists, but the tokeniser would change their tokens."""
    if lists and not table.takes_lists:
        raise UserError(
            f"--column {table.column}: --input {path} has lists of tokens there: expected --tokenizer whitespace, "
            "which takes them as they are"
        )


def named(columns: list[str]) -> str:
    """The names of columns, for a message."""
    more = f" and {len(columns) - _MOST_NAMES:,} more" if len(columns) > _MOST_NAMES else ""
    return f"the columns {', '.join(columns[:_MOST_NAMES])}{more}" if columns else "no columns"


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_fixed_size_list(kind)
        or types.is_list_view(kind)
        or types.is_large_list_view(kind)
    )


def _is_string(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _unwrapped(kind: pa.DataType) -> pa.DataType:
    """The type of the only field of a struct, or of structs in one another; any other type itself."""
    while pa.types.is_struct(kind) and kind.num_fields == 1:
        kind = kind.field(0).type
    return kind


def _values(column: pa.Array) -> pa.Array:
    """The values of a type that is unwrapped."""
    while pa.types.is_struct(column.type):
        (column,) = column.flatten()
    return column


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type of the values, which may be stored in a dictionary."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _as_bytes(values: pa.Array) -> pa.Array:
    """Strings or whole numbers as bytes, large_binary, whose size has no limit."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    return values.cast(pa.large_string()).cast(pa.large_binary())


def _scalar(value: bytes) -> pa.Scalar:
    return pa.scalar(value, pa.large_binary())


def _joined(column: pa.Array, counts: Counter[str]) -> pa.Array:
    """The lists as lines, large_binary without nulls. A list that is null becomes an empty line."""
    lengths = np.where(column.is_valid(), pc.fill_null(pc.list_value_length(column), 0), 0)  # [rows]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens = _as_bytes(_values(column.flatten()))  # [the sum of lengths]: those of lists that are null are left out
    if _has_white_space(tokens):
        mended = pc.replace_substring_regex(tokens, f"^{_CLASS}+|{_CLASS}+$", "")
        mended = pc.replace_substring_regex(mended, _CLASS, "_")
        counts["tokens_with_white_space"] += pc.sum(pc.not_equal(mended, tokens)).as_py() or 0
        tokens = mended
    sizes = pc.binary_length(tokens)
    nulls, empty = tokens.null_count, pc.sum(pc.equal(sizes, 0)).as_py() or 0
    if nulls or empty:
        counts.update(+Counter(tokens_null=nulls, tokens_empty=empty))
        kept = pc.fill_null(pc.greater(sizes, 0), False)
        offsets = np.concatenate([[0], np.cumsum(kept)])[offsets]
        tokens = tokens.filter(kept)
    return pc.binary_join(pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), tokens), _scalar(b" "))


def _has_white_space(tokens: pa.Array) -> bool:
    """Whether any token holds white space."""
    _, ends, data = tokens.buffers()
    if data is None or not len(tokens):
        return False
    ends = np.frombuffer(ends, np.int64)[tokens.offset : tokens.offset + len(tokens) + 1]
    text = data[ends[0] : ends[-1]].to_pybytes()
    return len(text.translate(None, WHITE_SPACE)) < len(text)
