r"""Makes tokenizer.json, from which the library `tokenizers` gives the words of a text as the transform graph does.

The library has no tokenizer of whole words that leaves unknown ones out: each has a token for them, which would count
in the mean. So this one is a byte-pair encoding without merges. It looks each word up as a whole (`ignore_merges`). An
unknown word falls apart into characters, and these are dropped, because no token is a single character: every token
begins with a space, which stands before each word that is looked up.

Letters, digits and marks are listed as ranges of characters, as TensorFlow knows them. The library has Unicode tables
of its own, which may be newer or older. There are two differences to the SavedModel. The lower case follows these
tables, so it differs for capital letters that only one of the two knows. And NUL is a space, as it is to the pipeline.
"""

import functools
import json
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

_MARKER = " "  # what every token begins with; no word holds white space
_UNREACHABLE = 2 * _MARKER  # what a token begins with that no text must give
_WORDS_AT_ONCE = 10_000

_WHITE_SPACE = r"\t-\r\x20"  # what tf.strings.split splits at
# The tokenisers are those of the pipeline, and so are these characters.
_SEPARATORS = (
    r"\x{0}-\x{8}\x{e}-\x{1f}\x{7f}-\x{a0}\x{1680}\x{2000}-\x{200a}\x{2010}-\x{2015}\x{2026}\x{2028}\x{2029}\x{202f}"
    r"\x{205f}\x{3000}"
)
_INVISIBLE = (
    r"[\x{ad}\x{34f}\x{61c}\x{180b}-\x{180f}\x{200e}\x{200f}\x{202a}-\x{202e}\x{2060}-\x{206f}\x{fe00}-\x{fe0f}"
    r"\x{feff}\x{e0000}-\x{e0fff}]+"
)
_JOINERS = r"[\x{200c}\x{200d}]"
# The capital sigma that becomes a final one: a cased letter is before it and none behind it, where marks do not count.
_CASED = r"[\p{Cased}&&[^\p{Case_Ignorable}]]"
_FINAL_SIGMA = rf"(?<={_CASED}\p{{Case_Ignorable}}*)Σ(?!\p{{Case_Ignorable}}*{_CASED})"

_Json = dict[str, Any]


def tokenizer_json(words: Sequence[str], tokenizer: str) -> Iterator[bytes]:
    """The pieces of tokenizer.json.

    Args:
        words: the words, whose tokens get the ids 0, 1, 2...
        tokenizer: how lines are split into words: words, simple or whitespace.
    """
    normalizers, pattern = {"words": _words, "simple": _simple, "whitespace": _whitespace}[tokenizer]()
    values: _Json = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {"type": "Sequence", "normalizers": normalizers} if normalizers else None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Removed", "invert": True},
                {"type": "Metaspace", "replacement": _MARKER, "prepend_scheme": "always", "split": False},
            ],
        },
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": True,
            "merges": [],
            "vocab": {},
        },
    }
    head, tail = json.dumps(values, ensure_ascii=False).rsplit("}}}", 1)  # the vocabulary comes last
    token_of = _token_of_words if tokenizer == "words" else _MARKER.__add__
    yield head.encode()
    for start in range(0, len(words), _WORDS_AT_ONCE):
        tokens = map(token_of, words[start : start + _WORDS_AT_ONCE])
        rows = (f"{json.dumps(token, ensure_ascii=False)}: {row}" for row, token in enumerate(tokens, start))
        yield (("," if start else "") + "\n" + ",\n".join(rows)).encode()
    yield f"\n}}}}}}{tail}\n".encode()


def _whitespace() -> tuple[list[_Json], str]:
    """The normalizers of this tokeniser, and the regular expression of a word."""
    return [], f"[^{_WHITE_SPACE}]+"


def _simple() -> tuple[list[_Json], str]:
    """The same for the simple tokeniser."""
    removed = _ranges(r"[\p{P}\p{S}\p{Cf}\x{FE00}-\x{FE0F}]", but_not=f"[{_SEPARATORS}]")
    normalizers = [
        _replace({"Regex": _FINAL_SIGMA}, "ς"),
        {"type": "Lowercase"},
        _replace({"Regex": f"[{removed}]+"}, ""),
    ]
    return normalizers, f"[^{_WHITE_SPACE}{_SEPARATORS}]+"


def _words() -> tuple[list[_Json], str]:
    """The same for the tokeniser of words."""
    begins, inside = _ranges(r"[\p{L}\p{N}]"), _ranges(r"[\p{L}\p{N}\p{M}]")
    normalizers = [
        {"type": "Lowercase"},
        _replace({"Regex": _INVISIBLE}, ""),
        _replace({"String": "i\u0307"}, "i"),
        _replace({"String": "’"}, "'"),
        _replace({"String": "ς"}, "σ"),
    ]
    return normalizers, f"[{begins}](?:[{inside}]+|{_JOINERS}+(?=[{inside}])|{_JOINERS}*'(?=[{begins}]))*"


def _replace(pattern: _Json, content: str) -> _Json:
    return {"type": "Replace", "pattern": pattern, "content": content}


@functools.cache
def _ranges(pattern: str, but_not: str = r"[^\x{0}-\x{10ffff}]") -> str:
    """The characters that match a regular expression of TensorFlow, as the ranges of a class in another program.

    Args:
        pattern: the regular expression, for one character.
        but_not: one for characters that are left out.
    """
    code_points = np.concatenate([np.arange(1, 0xD800), np.arange(0xE000, 0x110000)]).astype(np.int32)
    characters = tf.strings.unicode_encode(code_points[:, np.newaxis], "UTF-8")
    is_one, is_left_out = (tf.strings.regex_full_match(characters, each).numpy() for each in (pattern, but_not))
    found = code_points[is_one & ~is_left_out]
    begins = np.flatnonzero(np.diff(found, prepend=-2) > 1)
    ends = np.append(begins[1:], len(found)) - 1
    return "".join(f"\\x{{{first:x}}}-\\x{{{last:x}}}" for first, last in zip(found[begins], found[ends], strict=True))


def _token_of_words(word: str) -> str:
    """The token of a word of the tokeniser of words. The text has no final sigma where the token is looked up."""
    without = word.replace("ς", "σ")
    if without == word and not word.endswith("σ"):
        return _MARKER + word
    return (_MARKER if _with_final_sigma(without) == word else _UNREACHABLE) + without


def _with_final_sigma(word: str) -> str:
    """A word as the tokeniser writes it: a sigma at its end is a final one if a letter is before it."""
    stem = word[:-1]
    while stem and unicodedata.category(stem[-1]).startswith("M"):
        stem = stem[:-1]
    is_final = word.endswith("σ") and stem and unicodedata.category(stem[-1]).startswith("L")
    return word[:-1] + "ς" if is_final else word
