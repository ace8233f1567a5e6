"""Which lines are held out: --holdout keeps a share of the lines out of all examples, to evaluate a model on them."""

from pipeline.config import PipelineConfig
from pipeline.streams import random_stream
from pipeline.text.lines import TextBlock


def split(block: TextBlock, config: PipelineConfig) -> tuple[list[bytes], list[bytes]]:
    """Divides the lines of a text block.

    A line is held out if its draw is below the share. The draws depend on the seed and the place of the block alone,
    so everything that reads the block holds out the same lines. A larger share holds out the same lines and more.

    Args:
        block: the text block.
        config: the pipeline's settings.

    Returns:
        The lines to train on, and the lines that are held out, both in the order of the text.
    """
    if not config.holdout:
        return block.lines, []
    draws = random_stream(config.seed, "holdout", block.name, block.offset).random(len(block.lines))
    kept: list[bytes] = []
    held_out: list[bytes] = []
    for line, is_held_out in zip(block.lines, (draws < config.holdout).tolist(), strict=True):
        (held_out if is_held_out else kept).append(line)
    return kept, held_out
