"""The tokenisers: how a line is split into words.

`tokenize` defines them. It is made of TensorFlow operations, so the tokenisers become part of the transform graph (see
pipeline.text.transform_graph) and of the models that are exported. `separated` gives the same words of the lines of a
text block in a fraction of the time, because it leaves to `tokenize` only what is not ASCII.
"""

import itertools
import re
import string
from collections.abc import Sequence

import tensorflow as tf

# TensorFlow's lower() treats these letters differently in a process with a Turkish or Lithuanian locale.
_LOWER_CASE = {"I": "i", "İ": "i\u0307", "J": "j", "Ì": "ì", "Í": "í", "Ĩ": "ĩ", "Į": "į"}

# The simple tokeniser.
# The class [\p{Z}\p{Cc}], dashes and the ellipsis. The characters at which tf.strings.split splits anyway are left out,
# because replacing every space by a space takes six times as long.
_SEPARATORS = (
    r"\x00-\x08\x0e-\x1f\x7f-\x{a0}\x{1680}\x{2000}-\x{200a}\x{2010}-\x{2015}\x{2026}\x{2028}\x{2029}\x{202f}"
    r"\x{205f}\x{3000}"
)
# What it does to ASCII text: these characters become others, and these are removed.
_ASCII_SEPARATORS = bytes([*range(9), *range(14, 32), 127])
_ASCII_TABLE = bytes.maketrans(
    string.ascii_uppercase.encode() + _ASCII_SEPARATORS,
    string.ascii_lowercase.encode() + b" " * len(_ASCII_SEPARATORS),
)
_ASCII_REMOVED = string.punctuation.encode()

# The tokeniser of words, in the regular expressions of TensorFlow (RE2), which cannot look ahead or behind.
# Characters that are invisible and may be inside a word: soft hyphens, marks of direction, selectors of glyphs.
_INVISIBLE = (
    r"[\x{ad}\x{34f}\x{61c}\x{180b}-\x{180f}\x{200e}\x{200f}\x{202a}-\x{202e}\x{2060}-\x{206f}\x{fe00}-\x{fe0f}"
    r"\x{feff}\x{e0000}-\x{e0fff}]+"
)
# The two joiners, which choose the shapes of letters and are a part of the spelling in Persian, Hindi and others.
_JOINERS = r"\x{200c}\x{200d}"
_NEVER_BEGINS = r"[^\p{L}\p{N}]"  # a word begins with a letter or a digit
_NEVER_IN_WORD = rf"[^\p{{L}}\p{{N}}\p{{M}}{_JOINERS}']"
# All that is between two words, or before the first or after the last. An apostrophe is, unless it is alone and has a
# letter or digit behind it.
_BETWEEN_WORDS = (
    rf"^{_NEVER_BEGINS}+|[{_JOINERS}]*{_NEVER_IN_WORD}{_NEVER_BEGINS}*|[{_JOINERS}]*'{_NEVER_BEGINS}+|[{_JOINERS}]*'$"
    rf"|[{_JOINERS}]+$"
)
_WORDS_REPLACEMENTS = (
    (_INVISIBLE, ""),
    ("i\u0307", "i"),  # the lower case of the Turkish İ
    ("’", "'"),
    (_BETWEEN_WORDS, " "),
    ("ς", "σ"),
    (r"(\p{L}\p{M}*)σ( |$)", r"\1ς\2"),  # at the end of a word, a Greek sigma is written so
)
# What it does to ASCII text: the characters that are in no word become spaces.
_IN_NO_WORD = bytes(set(range(256)) - set(string.ascii_letters.encode() + string.digits.encode() + b"'\n"))
_WORDS_TABLE = bytes.maketrans(
    string.ascii_uppercase.encode() + _IN_NO_WORD, string.ascii_lowercase.encode() + b" " * len(_IN_NO_WORD)
)
# An apostrophe that has no letter or digit before or behind it. The search is fast, as every match begins alike.
_OUTER_APOSTROPHE = re.compile(rb"'(?:(?<![a-z0-9]')|(?![a-z0-9]))")


def tokenize(lines: tf.Tensor, tokenizer: str) -> tf.RaggedTensor:
    """Splits lines into words.

    Args:
        lines: [N] string, UTF-8.
        tokenizer: `whitespace` splits at ASCII white space and changes nothing, as item ids need it.

            `words` turns letters into lower case (Unicode). Runs of letters, marks and digits are words, and so are two
            such runs with an apostrophe between, straight or curly. All else separates words, except that invisible
            characters such as soft hyphens are removed.

            `simple` turns letters into lower case (Unicode), splits at white space and at dashes and ellipses that are
            not ASCII, and removes all other punctuation and symbols. On ASCII text that is what TensorFlow's word2vec
            tutorial does.

    Returns:
        [N, words] string. No word is empty; a line without words has none.
    """
    if tokenizer != "whitespace":
        lines = _lower_case(lines)
    if tokenizer == "words":
        for pattern, replacement in _WORDS_REPLACEMENTS:
            lines = tf.strings.regex_replace(lines, pattern, replacement)
    elif tokenizer == "simple":
        lines = tf.strings.regex_replace(lines, f"[{_SEPARATORS}]+", " ")
        lines = tf.strings.regex_replace(lines, r"[\p{P}\p{S}\p{Cf}\x{FE00}-\x{FE0F}]+", "")
    return tf.strings.split(lines)


def _lower_case(lines: tf.Tensor) -> tf.Tensor:
    for upper, lower in _LOWER_CASE.items():
        lines = tf.strings.regex_replace(lines, upper, lower)
    return tf.strings.lower(lines, encoding="utf-8")


def separated(lines: Sequence[bytes], tokenizer: str) -> list[bytes]:
    """The lines with nothing but their words, as `tokenize` gives them, and ASCII white space between the words.

    Args:
        lines: UTF-8, without newlines.
        tokenizer: as in `tokenize`.
    """
    if tokenizer == "whitespace" or not lines:
        return list(lines)
    done = (_words_of_ascii if tokenizer == "words" else _simple_of_ascii)(lines)
    if not all(map(bytes.isascii, lines)):
        others = {number: line.split() for number, line in enumerate(lines) if not line.isascii()}
        # Nothing that `tokenize` does reaches across white space, so each different piece needs it only once.
        pieces = list(set(itertools.chain.from_iterable(others.values())))
        words = tf.strings.reduce_join(tokenize(tf.constant(pieces, tf.string), tokenizer), -1, separator=" ")
        words_of = dict(zip(pieces, words.numpy().tolist(), strict=True))
        for number, line in others.items():
            done[number] = b" ".join(map(words_of.__getitem__, line))
    return done


def _simple_of_ascii(lines: Sequence[bytes]) -> list[bytes]:
    return b"\n".join(lines).translate(_ASCII_TABLE, _ASCII_REMOVED).split(b"\n")


def _words_of_ascii(lines: Sequence[bytes]) -> list[bytes]:
    return _OUTER_APOSTROPHE.sub(b" ", b"\n".join(lines).translate(_WORDS_TABLE)).split(b"\n")
