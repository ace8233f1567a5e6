"""PipelineConfig: what a run of the pipeline is told, validated and frozen."""

import dataclasses

from pipeline.dataset.layout import FIRST_WORD_ID, UNK_ID
from pipeline.errors import UserError

TOKENIZERS = ("simple", "whitespace")
OOV = ("drop", "unk")
SUBSAMPLINGS = ("counts", "zipf")
NOISES = ("unigram", "log_uniform")
EXAMPLE_FORMATS = ("blocks", "pairs")
COMPRESSIONS = ("none", "gzip")

# Constants, never derived from the number of workers: the records depend on them.
TEXT_BLOCK_BYTES = 1 << 20  # the unit of reading, of random streams and of parallel work
MAX_LINE_BYTES = 1 << 16  # a longer line goes on as a new sentence, at a white space
MAX_SENTENCE_TOKENS = 1000  # word2vec.c's MAX_SENTENCE_LENGTH, counted after subsampling
TARGETS_PER_RECORD = 1024  # examples are packed until a record holds this many targets

# What a preset changes of the defaults, which are word2vec.c's.
PRESETS = {
    "word2vec": {},
    # TensorFlow's word2vec tutorial.
    "tutorial": {
        "vocab_size": 4096,
        "min_count": 1,
        "oov": "unk",
        "sequence_length": 10,
        "subsampling": "zipf",
        "subsample": 1e-5,
        "window_size": 2,
        "shrink_windows": False,
        "num_negatives": 4,
        "negatives": "log_uniform",
        "example_format": "pairs",
    },
}


@dataclasses.dataclass(frozen=True)
class PipelineConfig:
    """The settings of one dataset. Fields are the flags of the same names.

    Raises:
        UserError: a value is out of its range; the message names the flag.
    """

    input: tuple[str, ...]  # file patterns; plain text, .gz or .bz2, a sentence or document a line
    output: str  # the dataset directory
    overwrite: bool = False  # replace the dataset that is there

    tokenizer: str = "simple"  # one of TOKENIZERS
    vocab_size: int = 0  # ids in all, [PAD] and [UNK] included, as Keras's max_tokens; 0: no limit
    min_count: int = 5  # rarer words are out of the vocabulary (word2vec.c -min-count)

    oov: str = "drop"  # words out of the vocabulary: dropped before windows are drawn, or [UNK], a word as others
    sequence_length: int = 0  # a longer line goes on as a new sequence; 0: only past MAX_SENTENCE_TOKENS
    subsampling: str = "counts"  # counts: word2vec.c's, of words; zipf: the tutorial's, of targets, by rank
    subsample: float = 1e-3  # t, see pipeline.sampling; 0: keep every word
    window_size: int = 5  # largest distance between a target and its context, in words
    shrink_windows: bool = True  # nearer words count more, as by word2vec.c's radius, uniform on 1..window_size
    num_negatives: int = 5  # negative samples per skip-gram; in blocks, in expectation
    negatives: str = "unigram"  # noise distribution: count ** ns_exponent, or log_uniform over the ids
    ns_exponent: float = 0.75  # of the counts (Mikolov et al. 2013)
    passes: int = 1  # how often the corpus is gone through, each time with draws of its own

    example_format: str = "blocks"  # blocks, or a target and 1 + num_negatives context words each: pairs
    block_targets: int = 64  # S: targets of a skip-gram block
    block_negatives: int = 64  # N: negative samples that a block's targets share
    num_shards: int = 16  # files, and the most workers that can write examples at once
    compression: str = "none"  # one of COMPRESSIONS; gzip halves the shards, and costs both sides time
    seed: int = 1  # of every random draw

    @property
    def first_token_id(self) -> int:
        """The lowest id that text is made of: [UNK]'s, or the first word's."""
        return UNK_ID if self.oov == "unk" else FIRST_WORD_ID

    def __post_init__(self):
        if not self.input or not all(self.input):
            raise UserError("--input is empty: expected one or more file patterns, such as 'corpus/*.txt'")
        if not self.output:
            raise UserError("--output is empty: expected a directory for the dataset")
        for name, choices in (
            ("tokenizer", TOKENIZERS),
            ("oov", OOV),
            ("subsampling", SUBSAMPLINGS),
            ("negatives", NOISES),
            ("example_format", EXAMPLE_FORMATS),
            ("compression", COMPRESSIONS),
        ):
            if getattr(self, name) not in choices:
                raise UserError(f"--{name} {getattr(self, name)!r}: expected one of {', '.join(choices)}")
        if self.vocab_size and not FIRST_WORD_ID < self.vocab_size < 2**31:
            raise UserError(f"--vocab_size {self.vocab_size}: expected 0 for no limit, or from 3 to 2147483647")
        for name, low, high in (
            ("min_count", 1, 2**62),
            ("sequence_length", 0, 2**31 - 1),
            ("subsample", 0, 1),
            ("window_size", 1, 255),  # radii are stored as uint8
            ("num_negatives", 1, 1000),
            ("ns_exponent", -2, 2),
            ("passes", 1, 10_000),
            ("block_targets", 1, 4096),
            ("block_negatives", 1, 4096),
            ("num_shards", 1, 99_999),
            ("seed", 0, 2**63 - 1),
        ):
            if not low <= getattr(self, name) <= high:
                raise UserError(f"--{name} {getattr(self, name)}: expected a number from {low} to {high}")
