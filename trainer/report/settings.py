"""The settings of a run, and the commands that repeat it."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from trainer.building import automatic_batch_sizes
from trainer.config import TrainerConfig
from trainer.manifest import Manifest
from trainer.settings import settings_of

# The defaults of the pipeline's flags, which this package cannot import. A test compares them with the pipeline's.
PIPELINE_DEFAULTS: dict[str, Any] = {
    "overwrite": False, "input_format": "auto", "column": "", "tokenizer": "words", "phrases": 0,
    "phrase_min_count": 5, "phrase_threshold": 10.0, "phrase_scoring": "default", "vocab_size": 0, "min_count": 5,
    "vocabulary": "", "grow_vocabulary": False, "oov": "drop", "sequence_length": 0, "subsampling": "counts",
    "subsample": 1e-3, "window_size": 5, "shrink_windows": True, "num_negatives": 5, "negatives": "unigram",
    "ns_exponent": 0.75, "passes": 1, "example_format": "blocks", "block_targets": 64, "block_negatives": 64,
    "holdout": 0, "num_shards": 16, "compression": "none", "seed": 1,
}  # fmt: skip
_HOW_TO_START = ("overwrite", "resume")  # how a run was started, which does not matter when it is repeated


class Row(NamedTuple):
    """A setting: its name, its value, and its default; the default is None if there is none."""

    name: str
    value: Any
    default: Any

    @property
    def is_default(self) -> bool:
        """Whether the value is the default. A setting without a default has none."""
        return self.default is not None and self.value == self.default


def dataset_settings(manifest: Manifest) -> list[Row]:
    """The settings of a dataset; those that have a field of their own in the manifest, too."""
    own = ("window_size", "num_negatives", "passes", "example_format", "compression")
    values = {**manifest.config, **{name: getattr(manifest, name) for name in own}}
    names = [*("input", "output"), *PIPELINE_DEFAULTS]
    names += sorted(set(values) - set(names))  # of a later version
    return [_row(name, values[name], PIPELINE_DEFAULTS.get(name)) for name in names if name in values]


def trainer_settings(config: Mapping[str, Any], manifest: Manifest | None = None) -> list[Row]:
    """The settings of a training run.

    Args:
        config: what metrics.json has under this name.
        manifest: that of the dataset, which tells whether the size of a batch was left to the trainer.
    """
    defaults = {each.name: each.default for each in settings_of(TrainerConfig)}
    if manifest and config.get("batch_size") in automatic_batch_sizes(manifest):
        defaults["batch_size"] = config["batch_size"]
    return [_row(name, value, defaults.get(name)) for name, value in config.items()]


def _row(name: str, value: Any, default: Any) -> Row:
    return Row(name, value, None if name in _HOW_TO_START else default)


def command(module: str, rows: Sequence[Row]) -> str:
    r"""The command that repeats a run, quoted for a shell. It has the flags whose values are no defaults.

    >>> rows = [Row("input", ["a b.txt"], None), Row("shrink_windows", False, True), Row("seed", 2, 1)]
    >>> print(command("pipeline", rows))
    python -m pipeline \
      --input 'a b.txt' \
      --no_shrink_windows \
      --seed 2
    """
    parts = [f"python -m {module}"]
    for row in rows:
        if not row.is_default and row.name not in _HOW_TO_START:
            parts.append(_flag(row))
    return " \\\n  ".join(parts)


def _flag(row: Row) -> str:
    if isinstance(row.value, bool):
        return f"--{row.name}" if row.value else f"--no_{row.name}"
    values = row.value if isinstance(row.value, list | tuple) else [row.value]
    texts = [_number(value) if isinstance(value, float) else str(value) for value in values]
    if len(texts) == 1:  # a value may begin with -
        quoted = shlex.quote(texts[0])
        return f"--{row.name}={quoted}" if texts[0].startswith("-") else f"--{row.name} {quoted}"
    return f"--{row.name} {' '.join(map(shlex.quote, texts))}"


def _number(value: float) -> str:
    """A number as short as it can be written exactly."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)
