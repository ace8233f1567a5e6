"""A plan as text for people."""

from pipeline.config import PipelineConfig
from pipeline.dataset.layout import FIRST_WORD_ID
from pipeline.plan.estimate import Plan
from pipeline.plan.memory import devices_needed, tables_bytes, trainer_bytes
from pipeline.settings import settings_of
from pipeline.text.given_phrases import num_rounds
from pipeline.worker import MEMORY_BYTES

_SHARD_BYTES = 256 << 20  # larger shards leave too few to write at once, and take long to write again after a failure
_DIMENSIONS = (128, 300)
_PHRASES = "left out: there will be fewer words, and each round of --phrases walks through the text once more"
_GPU_GIGABYTES = (16, 24, 40, 80)


def report(plan: Plan, config: PipelineConfig) -> str:
    """The estimates, a line each, as text for people.

    Args:
        plan: the estimates.
        config: the settings that they were made for.
    """
    num_words = plan.vocab_size - FIRST_WORD_ID
    shard_bytes = plan.shard_bytes / config.num_shards
    total_bytes = plan.shard_bytes + 2 * plan.vocabulary_bytes + plan.holdout_bytes
    memory = ", ".join(f"{_bytes(trainer_bytes(plan.vocab_size, d))} with {d} dimensions" for d in _DIMENSIONS)
    at_least = plan.examples_seconds / config.num_shards
    lines = [
        ("text", f"{_bytes(plan.text_bytes)}, of which {_bytes(plan.sample_bytes)} were read"),
        ("lines", f"{plan.lines:,}"),
        ("words", f"{plan.words:,}"),
        ("vocabulary", f"{num_words:,} words, {plan.words_known / plan.words:.1%} of the text"),
        *([("phrases", _PHRASES)] if num_rounds(config) else []),
        ("tokens kept", f"{plan.tokens:,}"),
        ("skip-grams", f"{plan.skip_grams:,}, {plan.shard_bytes / plan.skip_grams:.2f} bytes each"),
        ("dataset", f"{_bytes(total_bytes)}, {_bytes(shard_bytes)} a shard"),
        *([("held out", f"{plan.holdout_lines:,} lines, {plan.holdout_words:,} words")] if plan.holdout_lines else []),
        ("trainer", f"{memory}, on a CPU"),
        *zip(("GPUs", ""), (_gpus(plan.vocab_size, d) for d in _DIMENSIONS), strict=True),
        (
            "workers",
            f"{_time(3600 * plan.worker_hours)} of one core like this one: {_time(plan.vocabulary_seconds)} to count "
            f"words, {_time(plan.examples_seconds)} to write examples",
        ),
        ("", f"{config.num_shards} write at once, and take {_time(at_least)} at least"),
        ("", f"each process needs {_bytes(MEMORY_BYTES)} of memory or more"),
    ]
    if shard_bytes > _SHARD_BYTES:
        lines.append(("", _advice(plan, config)))
    return "\n".join(f"{name:<12}{value}" for name, value in lines)


def _gpus(vocab_size: int, embedding_dim: int) -> str:
    """How many GPUs hold the trainer's tables, by their memory. A size is left out if a smaller one needs no more."""
    needed = {size: devices_needed(vocab_size, embedding_dim, size * 10**9) for size in _GPU_GIGABYTES}
    sizes: dict[int, int] = {}  # number of GPUs -> the smallest size of which it suffices
    for size, number in needed.items():
        if number is not None:
            sizes.setdefault(number, size)
    parts = [f"{number} of {size} GB" for number, size in sizes.items()]
    if parts:
        number, size = next(iter(sizes.items()))
        parts[0] = f"{number} GPU of {size} GB or more holds them"
        if number > 1:
            parts[0] = f"{number} GPUs of {size} GB hold them"
    text = ", or ".join(parts)
    if too_small := [size for size, number in needed.items() if number is None]:
        text += f"{'; ' if parts else ''}GPUs of {max(too_small)} GB or less cannot hold them, however many there are"
    return f"{_bytes(tables_bytes(vocab_size, embedding_dim))} of tables with {embedding_dim} dimensions: {text}"


def _advice(plan: Plan, config: PipelineConfig) -> str:
    """Which --num_shards to use instead of one that makes large shards."""
    (highest,) = (int(each.high) for each in settings_of(PipelineConfig) if each.name == "num_shards")
    if config.num_shards == highest:
        return f"--num_shards {highest} is the highest number of shards, so they cannot be smaller"
    number = min(highest, -(-plan.shard_bytes // _SHARD_BYTES))
    is_highest = " (the highest number)" if number == highest else ""
    size = _bytes(plan.shard_bytes / number)
    return f"--num_shards {number}{is_highest} would make shards of {size} and let as many workers write at once"


def _bytes(number: float) -> str:
    units = ["B", "kB", "MB", "GB", "TB", "PB"]
    while number >= 999.5 and len(units) > 1:
        number /= 1000
        units.pop(0)
    return f"{_three_digits(number)} {units[0]}"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{_three_digits(seconds)} s"
    return f"{_three_digits(seconds / 60)} min" if seconds < 7200 else f"{_three_digits(seconds / 3600)} h"


def _three_digits(number: float) -> str:
    return f"{number:,.0f}" if number >= 99.5 else f"{number:.3g}"
