"""What is checked of tables before a job starts: that --column is there and holds text. And which files are read."""

from collections.abc import Iterator

from apache_beam.io.filesystems import FileSystems

from pipeline.config import PipelineConfig
from pipeline.errors import UserError
from pipeline.text.files import check_table
from pipeline.text.inputs import FoundFile, as_pattern, find_files, input_root
from pipeline.text.sources import Source

_FILES_CHECKED = 1000  # of each pattern, when no table is expected; a worker checks the others


def files_to_read(config: PipelineConfig) -> Iterator[FoundFile]:
    """The files of --input, without those that are none of a table's data."""
    source, patterns = Source.of(config), [as_pattern(pattern) for pattern in config.input]
    root = input_root(patterns)
    return (file for file in find_files(patterns) if not source.leaves_out(file.path.removeprefix(root)))


def check_tables(config: PipelineConfig) -> None:
    """Checks whether --column fits the files, and reads the beginning of the first table.

    Raises:
        UserError: there are tables, but no --column; or a --column, but no tables; or no file is read; or the first
            table has no such column, or one that is no text.
    """
    source, patterns = Source.of(config), [as_pattern(pattern) for pattern in config.input]
    if not config.column:
        for match in FileSystems.match(patterns, [_FILES_CHECKED] * len(patterns)):
            for found in match.metadata_list:
                source.table(found.path)
        return
    files = sorted(files_to_read(config))
    if not files:
        raise UserError(
            f"--input {' '.join(config.input)}: the names of all files, or of their folders, begin with _ or . , where "
            "Spark keeps no data: expected others with --column"
        )
    tables = [(file, table) for file in files if (table := source.table(file.path))]
    if not tables:
        raise UserError(
            f"--column {config.column}: all files of --input are text by their names: expected *.parquet, *.jsonl or "
            "*.ndjson, or an --input_format of jsonl or parquet"
        )
    for file, table in tables:
        if file.size:
            check_table(file.path, table)
            return
