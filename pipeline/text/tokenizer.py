"""The tokenisers: how a line is split into words.

`tokenize` defines them. It is made of TensorFlow operations, so the tokenisers become part of the transform graph (see
pipeline.text.transform_graph) and of the models that are exported. `separated` gives the same words of the lines of a
text block in a fraction of the time, because it leaves to `tokenize` only what is not ASCII.
"""

import itertools
import string
from collections.abc import Sequence

import tensorflow as tf

# The class [\p{Z}\p{Cc}], dashes and the ellipsis. The characters at which tf.strings.split splits anyway are left out,
# because replacing every space by a space takes six times as long.
_SEPARATORS = (
    r"\x00-\x08\x0e-\x1f\x7f-\x{a0}\x{1680}\x{2000}-\x{200a}\x{2010}-\x{2015}\x{2026}\x{2028}\x{2029}\x{202f}"
    r"\x{205f}\x{3000}"
)
# What the simple tokeniser does to ASCII text: these characters become others, and these are removed.
_ASCII_SEPARATORS = bytes([*range(9), *range(14, 32), 127])
_ASCII_TABLE = bytes.maketrans(
    string.ascii_uppercase.encode() + _ASCII_SEPARATORS,
    string.ascii_lowercase.encode() + b" " * len(_ASCII_SEPARATORS),
)
_ASCII_REMOVED = string.punctuation.encode()


def tokenize(lines: tf.Tensor, tokenizer: str) -> tf.RaggedTensor:
    """Splits lines into words.

    Args:
        lines: [N] string, UTF-8.
        tokenizer: `whitespace` splits at ASCII white space and changes nothing, as item ids need it. `simple` turns
            letters into lower case (Unicode), splits at white space and at dashes and ellipses that are not ASCII, and
            removes all other punctuation and symbols. On ASCII text that is what TensorFlow's word2vec tutorial does.

    Returns:
        [N, words] string. No word is empty; a line without words has none.
    """
    if tokenizer == "simple":
        # In a process with a Turkish locale, lower() would treat these two letters differently.
        for upper, lower in (("I", "i"), ("İ", "i\u0307")):
            lines = tf.strings.regex_replace(lines, upper, lower)
        lines = tf.strings.lower(lines, encoding="utf-8")
        lines = tf.strings.regex_replace(lines, f"[{_SEPARATORS}]+", " ")
        lines = tf.strings.regex_replace(lines, r"[\p{P}\p{S}\p{Cf}\x{FE00}-\x{FE0F}]+", "")
    return tf.strings.split(lines)


def separated(lines: Sequence[bytes], tokenizer: str) -> list[bytes]:
    """The lines with nothing but their words, as `tokenize` gives them, and ASCII white space between the words.

    Args:
        lines: UTF-8, without newlines.
        tokenizer: as in `tokenize`.
    """
    if tokenizer == "whitespace" or not lines:
        return list(lines)
    text = b"\n".join(lines)
    done = text.translate(_ASCII_TABLE, _ASCII_REMOVED).split(b"\n")
    if not text.isascii():
        others = {number: line.split() for number, line in enumerate(lines) if not line.isascii()}
        # Nothing that `tokenize` does reaches across white space, so each different piece needs it only once.
        pieces = list(set(itertools.chain.from_iterable(others.values())))
        words = tf.strings.reduce_join(tokenize(tf.constant(pieces, tf.string), tokenizer), -1, separator=" ")
        words_of = dict(zip(pieces, words.numpy().tolist(), strict=True))
        for number, line in others.items():
            done[number] = b" ".join(map(words_of.__getitem__, line))
    return done
