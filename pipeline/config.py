"""PipelineConfig: the settings of one run of the pipeline. It is frozen, and validated when it is made."""

import dataclasses
from typing import Any

from pipeline.dataset.layout import FIRST_WORD_ID, UNK_ID
from pipeline.errors import UserError
from pipeline.settings import setting, validate

# These are constants, because the records depend on them. The number of workers must not change the records.
TEXT_BLOCK_BYTES = 1 << 20  # text is read, given random streams and spread over workers in blocks of this size
MAX_LINE_BYTES = 1 << 16  # a longer line is split at white space, and its rest is a new sentence
MAX_SENTENCE_TOKENS = 1000  # word2vec.c's MAX_SENTENCE_LENGTH, counted after subsampling
TARGETS_PER_RECORD = 1024  # a record is filled with examples until it holds this many targets
WORDS_PER_HOLDOUT_RECORD = 1 << 16  # a record of held-out lines is filled until it holds this many words

# The defaults that each preset changes. The defaults themselves are word2vec.c's.
PRESETS: dict[str, dict[str, Any]] = {
    "word2vec": {},
    # TensorFlow's word2vec tutorial.
    "tutorial": {
        "tokenizer": "simple",
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
    """The settings of one dataset. Each field is also a flag, and its help text says what it does.

    Raises:
        UserError: a value is not allowed; the message names the flag.
    """

    input: tuple[str, ...] = setting(
        help="files to read: text in UTF-8 with a sentence or document on each line, or the tables that --input_format "
        "names; text may be compressed as .gz, .bz2, .xz or .zst; a pattern such as 'corpus/*.txt' names many files",
        group="files",
        metavar="GLOB",
        expected="one or more file patterns, such as 'corpus/*.txt'",
    )
    output: str = setting(
        help="the directory to write the dataset to",
        group="files",
        metavar="DATASET",
        expected="a directory for the dataset",
    )
    overwrite: bool = setting(
        False,
        help="replace the dataset that is in --output; it stays as it is until all files of the new one are written",
        group="files",
    )
    input_format: str = setting(
        "auto",
        choices=("auto", "text", "jsonl", "parquet"),
        help="what the files are: jsonl has an object on each line; auto takes *.parquet as parquet, *.jsonl and "
        "*.ndjson as jsonl, also if they are compressed, and all other files as text",
        group="files",
    )
    column: str = setting(
        "",
        empty="none",
        help="the column of jsonl and parquet to read: a list of strings or whole numbers is taken as tokens, with "
        "--tokenizer whitespace, and a string is split into words as a line of text",
        group="files",
        metavar="NAME",
    )

    tokenizer: str = setting(
        "words",
        choices=("words", "simple", "whitespace"),
        help="how to split a line into words: words changes it to lower case and takes runs of letters and digits, "
        "with the apostrophes inside them; simple changes it to lower case and removes punctuation, as the tutorial "
        "does; whitespace splits it at spaces and changes nothing, which suits ids of items; none of them finds words "
        "in Chinese or Japanese text, which needs spaces between its words",
        group="vocabulary",
    )
    phrases: int = setting(
        0,
        low=0,
        high=4,
        help="join words that stand together unusually often into phrases such as new_york, in N rounds; a round joins "
        "two neighbours, so N rounds give phrases of up to 2^N words; 0 joins none",
        group="vocabulary",
        metavar="N",
    )
    phrase_min_count: int = setting(  # gensim's Phrases has the same defaults
        5,
        low=1,
        high=2**62,
        help="two words are no phrase if the text has them together fewer than N times",
        group="vocabulary",
        metavar="N",
    )
    phrase_threshold: float = setting(
        10.0,
        low=-1,
        high=1e18,
        help="two words are a phrase if their score is above T: the higher it is, the fewer phrases there are; "
        "with --phrase_scoring npmi it is from -1 to 1",
        group="vocabulary",
        metavar="T",
    )
    phrase_scoring: str = setting(
        "default",
        choices=("default", "npmi"),
        help="how to score two words: default compares how often they stand together with how often each occurs; "
        "npmi is their normalised pointwise mutual information, from -1 to 1; both are those of gensim",
        group="vocabulary",
    )
    vocab_size: int = setting(  # the same number as max_tokens of Keras's TextVectorization
        0,
        low=FIRST_WORD_ID + 1,
        high=2**31 - 1,
        zero="no limit",
        help="the largest size of the vocabulary, which keeps the most frequent words; [PAD] and [UNK], which stand "
        "for padding and unknown words, count too; 0 means no limit",
        group="vocabulary",
        metavar="N",
    )
    min_count: int = setting(  # word2vec.c's -min-count
        5,
        low=1,
        high=2**62,
        help="leave a word out of the vocabulary if the text has it fewer than N times; words of --vocabulary stay",
        group="vocabulary",
        metavar="N",
    )
    vocabulary: str = setting(
        "",
        help="take the words of this dataset, or of this file of one word a line, which keep their ids; a count may "
        "stand behind each word, but only the counts of --input matter; the phrases of a dataset come along",
        group="vocabulary",
        metavar="PATH",
        empty="the words of --input",
    )
    grow_vocabulary: bool = setting(
        False,
        help="append words of --input that are not in --vocabulary, if they occur --min_count times; all words "
        "together are at most --vocab_size",
        group="vocabulary",
    )
    oov: str = setting(
        "drop",
        choices=("drop", "unk"),
        help="what happens to words that are not in the vocabulary: drop removes them before windows are laid, so that "
        "windows reach further; unk trains all of them as one word, [UNK]",
        group="vocabulary",
    )

    sequence_length: int = setting(
        0,
        low=0,
        high=2**31 - 1,
        help="split each line, after subsampling, into sequences of at most N words, which no window crosses; "
        f"0 means sequences of at most {MAX_SENTENCE_TOKENS}, as in word2vec.c",
        group="skip-grams",
        metavar="N",
    )
    subsampling: str = setting(
        "counts",
        choices=("counts", "zipf"),
        help="how to thin out frequent words: counts removes some of their occurrences from the text, as word2vec.c "
        "does; zipf skips some of them as targets only and keeps them as context, as the tutorial does",
        group="skip-grams",
    )
    subsample: float = setting(  # t in the formulas of pipeline.examples.draws
        1e-3,
        low=0,
        high=1,
        help="the threshold for thinning out frequent words, as a share of the text: the lower it is, the more words "
        "are thinned out; 0 keeps every word",
        group="skip-grams",
        metavar="T",
    )
    window_size: int = setting(
        5,
        low=1,
        high=255,  # the reach of a window is stored as uint8
        help="the largest distance between a target and its context, in words",
        group="skip-grams",
        metavar="W",
    )
    shrink_windows: bool = setting(
        True,
        help="count all words of a window alike; without this flag nearer words count more, as in word2vec.c, which "
        "draws the size of each window from 1 to W",
        group="skip-grams",
    )
    num_negatives: int = setting(
        5,
        low=1,
        high=1000,
        help="how many negative samples (random words) each skip-gram has; in blocks, which share theirs, they are "
        "weighted to count as K for each skip-gram",
        group="skip-grams",
        metavar="K",
    )
    negatives: str = setting(
        "unigram",
        choices=("unigram", "log_uniform"),
        help="how to draw negative samples: unigram draws a word in proportion to its count to the power of "
        "--ns_exponent; log_uniform goes by its rank in the vocabulary, as the tutorial does",
        group="skip-grams",
    )
    ns_exponent: float = setting(  # 0.75 is from Mikolov et al. 2013
        0.75,
        low=-2,
        high=2,
        help="the exponent of --negatives unigram: 1 draws words as often as the text has them, 0 all equally often",
        group="skip-grams",
        metavar="X",
    )
    passes: int = setting(
        1,
        low=1,
        high=10_000,
        help="draw negative samples and subsampling anew N times; the dataset grows N times; this is not the trainer's "
        "--epochs, which reads the same dataset several times",
        group="skip-grams",
        metavar="N",
    )

    example_format: str = setting(
        "blocks",
        choices=("blocks", "pairs"),
        help="what an example is: blocks are runs of consecutive targets that share their negative samples; pairs are "
        "one target and one context word, with negative samples of their own",
        group="files",
    )
    block_targets: int = setting(  # S in the shapes of pipeline.examples
        64,
        low=1,
        high=4096,
        help="how many consecutive targets a block has",
        group="skip-grams",
        metavar="S",
    )
    block_negatives: int = setting(  # N in the shapes of pipeline.examples
        64,
        low=1,
        high=4096,
        help="how many negative samples the targets of a block share",
        group="skip-grams",
        metavar="N",
    )
    holdout: float = setting(
        0,
        low=0,
        high=1,
        help="keep this share of the lines, chosen at random, out of the vocabulary and of all examples, and write "
        "them to DATASET/holdout, so that a model can be evaluated on lines that it has not seen",
        group="files",
        metavar="SHARE",
    )
    num_shards: int = setting(
        16,
        low=1,
        high=99_999,
        help="how many files (shards) to write examples to; no more workers than that can write at once",
        group="files",
        metavar="N",
    )
    compression: str = setting(
        "none",
        choices=("none", "gzip"),
        help="how to compress the shards: gzip halves them, but takes time to write and to read",
        group="files",
    )
    seed: int = setting(
        1,
        low=0,
        high=2**63 - 1,
        help="the number that all random draws depend on; the same text, flags and seed give the same dataset",
        group="skip-grams",
        metavar="N",
    )

    @property
    def first_token_id(self) -> int:
        """The lowest id that text is made of: [UNK]'s if it is a word as others, else the first word's."""
        return UNK_ID if self.oov == "unk" else FIRST_WORD_ID

    def __post_init__(self) -> None:
        validate(self)
        if self.input_format == "text" and self.column:
            raise UserError(f"--column {self.column}: expected no column, because --input_format is text")
        if self.phrases and self.phrase_scoring == "npmi" and self.phrase_threshold > 1:
            raise UserError(
                f"--phrase_threshold {self.phrase_threshold:g}: expected a number from -1 to 1, such as 0.5, with "
                "--phrase_scoring npmi"
            )
        if self.phrases and self.phrase_scoring == "default" and self.phrase_threshold <= 0:
            raise UserError(
                f"--phrase_threshold {self.phrase_threshold:g}: expected a number above 0 with --phrase_scoring default"
            )
