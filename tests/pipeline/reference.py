"""The whole pipeline once more, in memory and as plainly as possible: loops over the definitions, without vectors.

Of the package it uses the settings and `random_stream`, so that both make the same draws. All else is written anew.
"""

import bisect
import collections
import dataclasses
import math
import unicodedata
import zlib
from collections import Counter

from pipeline import config as constants
from pipeline.config import PipelineConfig
from pipeline.streams import random_stream

# Characters that are invisible and change nothing of the word that they are in.
INVISIBLE = {
    0xAD, 0x34F, 0x61C, *range(0x180B, 0x1810), 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2060, 0x2070),
    *range(0xFE00, 0xFE10), 0xFEFF, *range(0xE0000, 0xE1000),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The pipeline's constants; tests make them small."""

    text_block_bytes: int = constants.TEXT_BLOCK_BYTES
    max_line_bytes: int = constants.MAX_LINE_BYTES
    max_sentence_tokens: int = constants.MAX_SENTENCE_TOKENS
    words_per_holdout_record: int = constants.WORDS_PER_HOLDOUT_RECORD
    targets_per_record: int = constants.TARGETS_PER_RECORD


@dataclasses.dataclass
class TextBlock:
    """Lines that share random streams."""

    range_number: int
    offset: int
    lines: list[bytes]
    counts: Counter
    sentences: list[list[bytes]] = dataclasses.field(default_factory=list)  # the words of each line to train on
    held_out: list[list[bytes]] = dataclasses.field(default_factory=list)  # the words of each line that is held out


@dataclasses.dataclass
class Dataset:
    """The dataset that a run must produce."""

    vocabulary: list[tuple[bytes, int]]  # (token, count) by id
    records: list[list[list[dict[str, list[int]]]]]  # by shard, then by record
    counts: Counter
    holdout: list[list[list[list[int]]]]  # the ids of each held-out line by shard, then by record; [] without --holdout


def dataset(
    files: dict[str, bytes], config: PipelineConfig, sizes: Sizes = Sizes(), given: list[bytes] | None = None
) -> Dataset:
    """The dataset of files. They are given by path relative to the input root, with uncompressed contents.

    `given` are the words of the given vocabulary, if there is one.
    """
    blocks = {name: text_blocks(name, data, sizes) for name, data in files.items()}
    every_word = []
    for name, block in [(name, block) for name, of_file in blocks.items() for block in of_file]:
        draws = random_stream(config.seed, "holdout", name, block.offset).random(len(block.lines))
        for line, draw in zip(block.lines, draws):
            (block.held_out if draw < config.holdout else block.sentences).append(words(line, config.tokenizer))
        every_word.extend(word for sentence in block.sentences for word in sentence)
    if given is None:
        rows = vocabulary(every_word, config.vocab_size, config.min_count)
    else:
        rows = kept_vocabulary(every_word, given, config)
    ids = {token: i for i, (token, _) in enumerate(rows) if i >= 2}

    shards = [[] for _ in range(config.num_shards)]
    for name in sorted(files):
        ranges = collections.defaultdict(list)
        for block in blocks[name]:
            ranges[block.range_number].append(block)
        for number in sorted(ranges):
            shards[(zlib.crc32(name.encode()) + number) % config.num_shards].append((name, ranges[number]))

    counts = Counter(words_read=len(every_word))
    records = []
    holdout = []
    for shard in shards:
        examples = []
        lines = []
        for pass_number in range(config.passes):
            for name, text in shard:
                for block in text:
                    if pass_number == 0:
                        counts.update(block.counts)
                        counts.update(bin_of_length(len(sentence)) for sentence in block.sentences)
                        lines += [[ids.get(word, 1) for word in line] for line in block.held_out if line]
                    sentences = [[ids.get(word, 1) for word in sentence] for sentence in block.sentences]
                    made, drawn = block_examples(
                        sentences, [count for _, count in rows], config, (pass_number, name, block.offset), sizes
                    )
                    examples.extend(made)
                    counts.update(drawn)
        per_record = max(1, sizes.targets_per_record // config.block_targets)
        records.append([examples[i : i + per_record] for i in range(0, len(examples), per_record)])
        if config.holdout:
            holdout.append([])
            size = sizes.words_per_holdout_record  # the first record is not there yet, but is as if it were full
            for line in lines:
                if size >= sizes.words_per_holdout_record:
                    holdout[-1].append([])
                    size = 0
                holdout[-1][-1].append(line)
                size += len(line)
            counts["holdout_lines"] += len(lines)
            counts["holdout_words"] += sum(map(len, lines))
            counts["lines_read"] -= len(lines)
    return Dataset(rows, records, counts, holdout)


def text_blocks(name: str, data: bytes, sizes: Sizes) -> list[TextBlock]:
    """A file's text blocks. A range owns the lines that begin in it, and a block ends once it is big enough."""
    blocks = []
    block = None
    offset = line_start = 0
    lines = data.split(b"\n")
    for number, line in enumerate(lines):
        terminated = number < len(lines) - 1
        if not line and not terminated:
            break
        range_number = 0 if name.endswith((".gz", ".bz2")) else line_start // sizes.text_block_bytes
        if block is not None and block.range_number != range_number:
            block = None
        pieces = cut_line(line, sizes.max_line_bytes)
        for i, piece in enumerate(pieces):
            if block is None:
                block = TextBlock(range_number, offset, [], Counter())
                blocks.append(block)
            last = i == len(pieces) - 1
            block.counts["lines_cut"] += not last
            block.counts["lines_read"] += last
            block.counts["lines_unterminated"] += last and not terminated
            block.lines.append(mended(piece, offset == 0, block.counts))
            offset += len(piece) + (last and terminated)
            if offset - block.offset >= sizes.text_block_bytes:
                block = None
        line_start = offset
    return blocks


def cut_line(line: bytes, limit: int) -> list[bytes]:
    """Pieces of at most `limit` bytes. Each ends behind the last possible space, or else behind a whole character."""
    pieces = []
    while len(line) > limit:
        end = limit
        while end and line[end - 1 : end] not in (b" ", b"\t", b"\v", b"\f"):
            end -= 1
        if not end:
            end = limit
            while end > limit - 4 and 0x80 <= line[end] < 0xC0:  # inside a character
                end -= 1
        pieces.append(line[:end])
        line = line[end:]
    return [*pieces, line]


def bin_of_length(num_words: int) -> str:
    """The counter of lines with so many words."""
    if num_words < 2:
        return ("lines_of_0_words", "lines_of_1_word")[num_words]
    first = 2
    while 2 * first <= num_words:
        first *= 2
    return f"lines_of_{first}_to_{2 * first - 1}_words"


def mended(line: bytes, begins_file: bool, counts: Counter) -> bytes:
    """The line as valid UTF-8 without NUL and byte order mark."""
    counts["lines_crlf"] += line[-1:] == b"\r"
    if begins_file and line[:3] == b"\xef\xbb\xbf":
        counts["byte_order_marks"] += 1
        line = line[3:]
    if b"\0" in line:
        counts["lines_with_nul"] += 1
        line = line.replace(b"\0", b" ")
    try:
        line.decode()
    except UnicodeDecodeError:
        counts["lines_invalid_utf8"] += 1
        line = line.decode(errors="replace").encode()
    counts["lines_empty"] += not line.strip()
    return line


def words(line: bytes, tokenizer: str) -> list[bytes]:
    """The words of a line."""
    if tokenizer == "words":
        return [word.encode() for word in unicode_words(line.decode())]
    if tokenizer == "simple":
        kept = ""
        for character in line.decode().lower():
            category = unicodedata.category(character)
            if category[0] == "Z" or category == "Cc" or character in "\u2010\u2011\u2012\u2013\u2014\u2015\u2026":
                kept += " "
            elif category[0] not in "PS" and category != "Cf" and not "\ufe00" <= character <= "\ufe0f":
                kept += character
        line = kept.encode()
    return line.split()


def unicode_words(line: str) -> list[str]:
    """The words of a line, by character: letters and digits with their marks, and apostrophes and joiners between."""
    characters = "".join(character for character in line.lower() if ord(character) not in INVISIBLE)
    characters = characters.replace("i\u0307", "i").replace("’", "'")
    found, word = [], ""
    for character, following in zip(characters + " ", characters[1:] + "  "):
        kind = unicodedata.category(character)[0]
        if (
            kind in "LN"
            or (word and (kind == "M" or character in "\u200c\u200d"))
            or (word and character == "'" and unicodedata.category(following)[0] in "LN")
        ):
            word += character
        elif word:
            found.append(greek(word.rstrip("\u200c\u200d")))
            word = ""
    return found


def greek(word: str) -> str:
    """A word with ς for each sigma that stands at its end behind a letter, and σ for the others."""
    word = word.replace("ς", "σ")
    before = word[:-1]
    while before and unicodedata.category(before[-1])[0] == "M":
        before = before[:-1]
    is_final = word.endswith("σ") and before and unicodedata.category(before[-1])[0] == "L"
    return word[:-1] + "ς" if is_final else word


def vocabulary(every_word: list[bytes], vocab_size: int, min_count: int) -> list[tuple[bytes, int]]:
    """(token, count) by id: the reserved tokens, then the words by descending count, ties by descending token."""
    counts = Counter(every_word)
    known = [(count, word) for word, count in counts.items() if count >= min_count and word not in (b"[PAD]", b"[UNK]")]
    known.sort(reverse=True)
    if vocab_size:
        known = known[: vocab_size - 2]
    unknown = len(every_word) - sum(count for count, _ in known)
    return [(b"[PAD]", 0), (b"[UNK]", unknown), *((word, count) for count, word in known)]


def kept_vocabulary(every_word: list[bytes], given: list[bytes], config: PipelineConfig) -> list[tuple[bytes, int]]:
    """(token, count) by id: the reserved tokens, the given words, then the others if the vocabulary is to grow."""
    rows = [(b"[PAD]", 0), (b"[UNK]", 0), *((word, every_word.count(word)) for word in given)]
    if config.grow_vocabulary:
        rows += vocabulary([word for word in every_word if word not in given], 0, config.min_count)[2:]
        rows = rows[: config.vocab_size or None]
    rows[1] = (b"[UNK]", len(every_word) - sum(count for _, count in rows))
    return rows


def block_examples(
    sentences: list[list[int]], counts: list[int], config: PipelineConfig, key: tuple, sizes: Sizes = Sizes()
) -> tuple[list[dict[str, list[int]]], Counter]:
    """The examples of one text block in one pass, and what was counted on the way.

    Args:
        sentences: the ids of each line's words.
        counts: of each id in the corpus.
        config: the settings.
        key: (pass, file name, offset of the text block).
        sizes: the constants.
    """

    def stream(stage):
        return random_stream(config.seed, stage, *key)

    num_words = sum(len(sentence) for sentence in sentences)
    found = Counter()

    num_known = sum(counts[2:])
    draws = iter(stream("subsample").random(num_words).tolist())
    thinned = []
    for sentence in sentences:
        left_over = []
        for word in sentence:
            draw = next(draws)
            if word < 2:
                found["words_oov"] += 1
            elif draw < keep_probability(counts[word] / num_known, config.subsample):
                left_over.append(word)
            else:
                found["words_dropped_subsampling"] += 1
        longest = sizes.max_sentence_tokens
        parts = [left_over[i : i + longest] for i in range(0, len(left_over), longest)]
        found["sentences_split"] += max(0, len(parts) - 1)
        thinned.extend(parts)

    found["tokens_kept"] = sum(len(sentence) for sentence in thinned)
    run = []  # (target, left, right)
    for sentence in thinned:
        for i, target in enumerate(sentence):
            left = right = 0
            for d in range(1, config.window_size + 1):
                left += i - d >= 0
                right += i + d < len(sentence)
            found["skip_grams"] += left + right
            if left or right:
                run.append((target, left, right))
            else:
                found["tokens_dropped_alone"] += 1

    size, halo = config.block_targets, config.window_size
    num_blocks = math.ceil(len(run) / size)
    noise = noise_cdf(counts, config.ns_exponent)
    negative_draws = iter(stream("negatives").random(num_blocks * config.block_negatives).tolist())
    examples = []
    for start in range(0, len(run), size):

        def at(place):
            return run[place] if 0 <= place < len(run) else (0, 0, 0)

        examples.append(
            {
                "tokens": [at(place)[0] for place in range(start - halo, start + size + halo)],
                "left": [at(place)[1] for place in range(start, start + size)],
                "right": [at(place)[2] for place in range(start, start + size)],
                "negatives": [bisect.bisect_right(noise, next(negative_draws)) for _ in range(config.block_negatives)],
            }
        )
    return examples, found


def keep_probability(share: float, threshold: float) -> float:
    """The probability that subsampling keeps a word that makes up `share` of the words of the vocabulary."""
    return min(1.0, math.sqrt(threshold / share) + threshold / share) if threshold else 1.0


def noise_cdf(counts: list[int], exponent: float) -> list[float]:
    """The cumulative noise distribution by id."""
    cumulative = [0.0, 0.0]
    for count in counts[2:]:
        cumulative.append(cumulative[-1] + (count**exponent if count else 0))
    return [weight / cumulative[-1] for weight in cumulative]
