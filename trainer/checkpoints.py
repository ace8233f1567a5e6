"""Checkpoints: all that an interrupted run needs to go on exactly where it stopped."""

import json
import os
import re
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow.io import gfile

from trainer import bundle
from trainer.errors import UserError
from trainer.group import Group
from trainer.layout import SETTINGS_FILE, TEMPORARY_SUFFIX
from trainer.model import SkipGram
from trainer.news import logger
from trainer.preflight import read_json, remove, write_json
from trainer.row_blocks import BLOCK_BYTES, is_table, read_rows, row_blocks, write_rows

_NAME = re.compile(r"ckpt-(\d+)[._]")  # what the names of a checkpoint's files begin with, the unfinished ones too
_INDEX = re.compile(r"ckpt-(\d+)\.index")
_FORM = 2  # of what is in a checkpoint; version 1 had tables in one piece, under other names
_POSITION = "position"  # the name of the position in a checkpoint, which holds it as JSON


@dataclass
class Position:
    """How far a run has come."""

    epoch: int = 0  # finished epochs
    step: int = 0  # finished steps of the next epoch
    metric_state: list[float] = field(default_factory=list)  # the metrics' variables; empty between two epochs
    history: dict[str, list[float]] = field(default_factory=dict)  # by metric, its value after each finished epoch
    train_seconds: float = 0.0
    score_seconds: float = 0.0  # see trainer.scores
    best_epoch: int = 0  # with --patience, the number of epochs after which the score was best; 0 before the first
    best_score: float = 0.0  # that score; a higher one is better
    best_checkpoint: int = 0  # the number of the checkpoint after that epoch, which stays
    init: dict[str, float] = field(default_factory=dict)  # what became of the words with --init


class _Block(NamedTuple):
    """A part of a variable that is written and read at once."""

    name: str  # of the variable, in the checkpoint
    variable: tf.Variable
    shape: tuple[int, ...]  # of the variable, with the columns of all processes
    start: tuple[int, ...]  # where the part begins in that shape
    rows: slice | None  # the rows that the part has of the variable; None for a variable that is no table


class Checkpoints:
    """The checkpoints of one run. They are in one directory, which exists until the run has finished.

    If several processes train together, each writes its columns of the tables to that directory. A checkpoint does not
    depend on how many they were, so another number of processes can go on.

    Args:
        model: a model that is compiled and built, and whose optimizer is built.
        directory: the directory of the checkpoints.
        group: the processes that train together.
    """

    def __init__(self, model: SkipGram, directory: str, group: Group) -> None:
        self._directory = directory
        self._group = group
        self._columns = model.columns
        variables = [variable.value for variable in [*model.variables, *model.optimizer.variables]]
        # Keras adds numbers to the names of variables that the process has had before, so their order names them.
        self._variables = {f"variable-{number}": each for number, each in enumerate(variables)}

    def start(self, settings: dict[str, Any]) -> str:
        """Removes the checkpoints of any earlier run and writes down the settings of the new one.

        Args:
            settings: the settings of this run.

        Returns:
            The id of the new run, which nothing else has.
        """
        if self._group.is_chief:
            if gfile.exists(self._directory):
                self.remove()
            gfile.makedirs(self._directory)
        run = self._group.told_by_chief(uuid.uuid4().hex)
        if self._group.is_chief:
            write_json(self._settings_file, {"form": _FORM, "run": run, "settings": settings})
        self._check_shared(run)
        return run

    def _check_shared(self, run: str) -> None:
        """Raises UserError if the processes do not see the same directory."""
        self._group.wait()  # until the chief has written the settings
        found = (read_json(self._settings_file) or {}).get("run")
        if not self._group.agree(found == run):
            raise UserError(
                f"{self._directory}, where the checkpoints go, is not the same directory for all processes: expected "
                "--output, and --checkpoint_dir if it is given, to be in a folder or a bucket that all machines share"
            )

    def save(self, position: Position) -> None:
        """Writes a checkpoint. The one before it stays, in case the run dies while this one is written."""
        number = int(self._group.told_by_chief(str(max(self._numbers(), default=0) + 1)))
        kept = {position.best_checkpoint}  # the checkpoint before this one may still refer to it
        if position.best_epoch and (position.best_epoch, 0) == (position.epoch, position.step):
            position.best_checkpoint = number
            kept.add(number)
        num_files = 0
        for parts in self._parts(position):
            bundle.write(self._part_path(number, self._group.rank, num_files), parts)
            num_files += 1
        files_by_rank = [int(text) for text in self._group.exchange(str(num_files))]
        if self._group.is_chief:
            written = [self._part_path(number, rank, k) for rank, num in enumerate(files_by_rank) for k in range(num)]
            bundle.merge(written, self._path(number))
            for entry in gfile.listdir(self._directory):
                if (found := _NAME.match(entry)) and int(found.group(1)) not in {*kept, number - 1, number}:
                    remove(os.path.join(self._directory, entry.rstrip("/")))
        self._group.wait()

    def _parts(self, position: Position) -> Iterator[list[bundle.Part]]:
        """What this process writes, in groups that take up to some 64 MB each, so that no copy of a table is needed."""
        parts: list[bundle.Part] = []
        if self._group.is_chief:
            parts.append(bundle.Part(_POSITION, (), (), tf.constant(json.dumps(asdict(position)))))
        size = 0
        for block in self._blocks():
            if block.rows is None and not self._group.is_chief:
                continue  # all processes have the same
            values = block.variable.read_value() if block.rows is None else read_rows(block.variable, block.rows)
            num_bytes = int(values.shape.num_elements()) * int(values.dtype.size)
            if parts and size + num_bytes > BLOCK_BYTES:
                yield parts
                parts, size = [], 0
            parts.append(bundle.Part(block.name, block.shape, block.start, values))
            size += num_bytes
        yield parts

    def _blocks(self) -> Iterator[_Block]:
        """What this process holds: of a table, blocks of rows of its columns; all other variables as a whole."""
        columns = self._columns
        for name, variable in self._variables.items():
            if is_table(variable):
                shape = (variable.shape[0], columns.dimension)
                for rows in row_blocks(*shape):
                    yield _Block(name, variable, shape, (rows.start, columns.start), rows)
            else:
                shape = tuple(variable.shape)
                yield _Block(name, variable, shape, (0,) * len(shape), None)

    def restore(self, settings: dict[str, Any]) -> tuple[Position, str] | None:
        """Restores the last checkpoint that is sound.

        Args:
            settings: the settings of this run.

        Returns:
            Where the run goes on, and the id of the run; or None if there is no checkpoint.

        Raises:
            UserError: the checkpoint was written with other settings, or all checkpoints are damaged.
        """
        numbers = sorted(json.loads(self._group.told_by_chief(json.dumps(self._numbers()))), reverse=True)
        if not numbers:
            return None
        run = self._group.told_by_chief(self._check_settings(settings) if self._group.is_chief else "")
        self._check_shared(run)
        for number in numbers:
            position = self._read(self._path(number))
            if self._group.agree(position is not None) and position is not None:
                return position, run
            if number != numbers[-1]:
                name = f"{os.path.basename(self._directory)}/ckpt-{number}"
                logger.warning(f"{name} is damaged, so the run goes on from the one before it")
        raise UserError(
            f"--resume: all {len(numbers)} checkpoints of the interrupted run are damaged: expected --overwrite, to "
            "start anew"
        )

    def restore_best(self, position: Position) -> None:
        """Restores the tables of the best epoch. The position stays that of the run.

        Raises:
            UserError: the checkpoint is damaged.
        """
        path = self._path(position.best_checkpoint)
        if not self._group.agree(self._read(path) is not None):
            raise UserError(
                f"{path}, the checkpoint of the best epoch, is damaged: expected --overwrite, to start anew"
            )

    def _check_settings(self, settings: dict[str, Any]) -> str:
        """Compares the settings with those of the interrupted run, and returns the id of that run."""
        earlier = read_json(self._settings_file)
        if earlier is None or not isinstance(earlier.get("settings"), dict) or not isinstance(earlier.get("run"), str):
            raise UserError(
                f"--resume: {os.path.basename(self._directory)}/{SETTINGS_FILE} is damaged or missing, which says how "
                "the interrupted run was started: expected --overwrite, to start anew"
            )
        if earlier.get("form") != _FORM:
            raise UserError(
                "--resume: the checkpoints of the interrupted run are of another version of this program: go on with "
                "that version, or give --overwrite to start anew"
            )
        for name, value in settings.items():
            if earlier["settings"].get(name) != value:
                raise UserError(
                    f"--resume: the interrupted run had {name} {earlier['settings'].get(name)}, not {value}: "
                    "give the same flags, or --overwrite to start anew"
                )
        return str(earlier["run"])

    def _read(self, prefix: str) -> Position | None:
        """Restores a checkpoint. Returns where the run goes on, or None if the checkpoint is damaged."""
        try:
            shapes = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
            if shapes != {**{block.name: list(block.shape) for block in self._blocks()}, _POSITION: []}:
                return None
            for name, variable, shape, start, rows in self._blocks():
                size = shape if rows is None else (rows.stop - rows.start, self._columns.width)
                values = bundle.read(prefix, name, variable.dtype, shape, start, size)
                if rows is None:
                    variable.assign(values)
                else:
                    write_rows(variable, rows, values)
            return Position(**json.loads(bundle.read(prefix, _POSITION, tf.string).numpy()))
        except (tf.errors.OpError, OSError, LookupError, TypeError, ValueError):
            return None

    def remove(self) -> None:
        """Removes all checkpoints. The chief calls it when the run has finished.

        The settings are removed last. They tell a later run that the model is complete, should this one be killed here.
        """
        for entry in gfile.listdir(self._directory):
            if _NAME.match(entry) or TEMPORARY_SUFFIX in entry:
                remove(os.path.join(self._directory, entry.rstrip("/")))
        remove(self._settings_file)
        if not gfile.listdir(self._directory):
            gfile.rmtree(self._directory)

    @property
    def _settings_file(self) -> str:
        return os.path.join(self._directory, SETTINGS_FILE)

    def _path(self, number: int) -> str:
        return os.path.join(self._directory, f"ckpt-{number}")

    def _part_path(self, number: int, rank: int, file: int) -> str:
        return f"{self._path(number)}_part-{rank}-{file}"

    def _numbers(self) -> list[int]:
        """The numbers of the checkpoints. A checkpoint is complete once it has an index, which is written last."""
        entries = gfile.listdir(self._directory) if gfile.isdir(self._directory) else []
        return [int(name.group(1)) for name in map(_INDEX.fullmatch, entries) if name]
