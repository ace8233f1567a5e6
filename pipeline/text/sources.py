"""What a file of --input is: text, JSON lines or Parquet. --input_format says it, or the name of the file."""

import os
from typing import NamedTuple

from pipeline.config import PipelineConfig
from pipeline.errors import UserError
from pipeline.text.compressed import without_compression

_JSON_LINES = (".jsonl", ".ndjson")
_PARQUET = ".parquet"


class Table(NamedTuple):
    """How the rows of a file become lines of text."""

    format: str  # jsonl or parquet
    column: str  # the column that is read
    takes_lists: bool  # whether a row may be a list of tokens


class Source(NamedTuple):
    """How the files of --input are read. The default reads all but tables as text."""

    input_format: str = "auto"  # as the setting
    column: str = ""  # as the setting
    takes_lists: bool = True  # whether a row may be a list of tokens

    @classmethod
    def of(cls, config: PipelineConfig) -> "Source":
        """How a run with these settings reads its files."""
        return cls(config.input_format, config.column, config.tokenizer == "whitespace")

    def table(self, path: str) -> Table | None:
        """How to read a file as a table, or None if it is text.

        Raises:
            UserError: the file is a table, but --column is not given.
        """
        kind = self._format(path)
        if kind == "text":
            return None
        if not self.column:
            other = ", or --input_format text" if kind == "jsonl" else ""
            raise UserError(f"--input {path} is {kind}: expected --column with the name of the one to read{other}")
        return Table(kind, self.column, self.takes_lists)

    def leaves_out(self, name: str) -> bool:
        """Whether a file is none of the data, such as _SUCCESS and .crc files, which Spark writes beside tables.

        As in Spark and Hive, a table's data is in no file or folder whose name begins with `_` or `.`, unless it is a
        folder such as `_day=1`. Where no column is read, all files are text that the user wants to read.

        Args:
            name: the path of the file relative to the input root.
        """
        return bool(self.column) and any(part[:1] in ("_", ".") and "=" not in part for part in name.split("/"))

    def _format(self, path: str) -> str:
        if self.input_format != "auto":
            return self.input_format
        if path.lower().endswith(_PARQUET):
            return "parquet"
        return "jsonl" if os.path.splitext(without_compression(path))[1].lower() in _JSON_LINES else "text"
