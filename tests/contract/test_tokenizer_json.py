"""The tokenizer.json that the trainer exports gives the words that the pipeline's tokenisers give."""

import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.normalizers import Lowercase

from pipeline.text.tokenizer import tokenize
from tests.pipeline.helpers import deterministic
from trainer.tokenizer_json import tokenizer_json

TOKENIZERS = ("words", "simple", "whitespace")
ODD = [
    *"aΣσςαİIıßǅ'’_-—…  \u00a0\u3000\t\n\r\x1c\x85\u2028▁.,!5٣½²Ⅷ好ー語ไक्षाعمא",
    *("\u0301", "\u0307", "\u0345", "\u0308"),  # marks
    *("\u00ad", "\u200b", "\u200c", "\u200d", "\u200e", "\u034f", "\ufe0f", "\ufeff", "\U000e0061"),  # invisible
    *(
        "don't",
        "rock 'n' roll",
        "ΟΔΟΣ",
        "ΛΌΓΟΣ.",
        "می\u200cخواهم",
        "İstanbul",
        "👩‍👩‍👧",
        "soft\u00adhyphen",
        "[UNK]",
        "[PAD]",
    ),
]
ANY_TEXT = st.lists(
    st.sampled_from(ODD) | st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30
).map("".join)


def words_of(lines: list[str], tokenizer: str) -> list[list[str]]:
    """The words that the transform graph looks up."""
    rows = tokenize(tf.constant([line.encode() for line in lines], tf.string), tokenizer).to_list()
    return [[word.decode() for word in row] for row in rows]


def loaded(vocabulary: list[str], tokenizer: str) -> Tokenizer:
    return Tokenizer.from_str(b"".join(tokenizer_json(vocabulary, tokenizer)).decode())


def ids_of(lines: list[str], vocabulary: list[str], tokenizer: str) -> list[list[int]]:
    encodings = loaded(vocabulary, tokenizer).encode_batch(lines, add_special_tokens=False)
    return [encoding.ids for encoding in encodings]


def check(lines: list[str], tokenizer: str) -> None:
    """Compares the ids. Half of the words are in no vocabulary, and must leave nothing behind."""
    expected = words_of(lines, tokenizer)
    different = sorted({word for row in expected for word in row})
    for vocabulary in (different[::2], different[1::2]):
        rows = {word: row for row, word in enumerate(vocabulary)}
        known = [[rows[word] for word in row if word in rows] for row in expected]
        found = ids_of(lines, vocabulary, tokenizer)
        wrong = [(line, *pair) for line, *pair in zip(lines, known, found) if pair[0] != pair[1]]
        assert not wrong


def is_same_in_lower_case(character: str) -> bool:
    """Whether the library and TensorFlow agree on the lower case. They do not for letters that are new to Unicode."""
    return Lowercase().normalize_str(character).encode() == tf.strings.lower(character, encoding="utf-8").numpy()


@pytest.fixture(scope="module")
def new_letters() -> set[str]:
    """The capital letters whose small letters only the library knows."""
    characters = [*map(chr, range(0x1C80, 0x1C90)), *map(chr, range(0x2C00, 0x2C60)), *map(chr, range(0xA780, 0xA800))]
    characters += [*map(chr, range(0x10500, 0x10600)), *map(chr, range(0x10D40, 0x10D90))]
    characters += [*map(chr, range(0x16E00, 0x16F00))]
    return {character for character in characters if not is_same_in_lower_case(character)}


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@settings(deterministic, max_examples=60)
@given(line=ANY_TEXT)
@example("")
@example(" ")
@example("ΑΣ ΑΣ. Σ ΑΣΑ Α\u00adΣ Α'Σ ΑΣ'Σ ΑΣ\u0301 ΣΣ")
@example("'n' a'b a''b a'\u200cb a\u200c'b \u200ca\u200d'\u0301b")
@example("i\u0307 İ i\u00ad\u0307")
@example("a" * 100_000)
@example("ab " * 30_000)
def test_any_text_has_the_same_words(tokenizer, new_letters, line):
    check(["".join("x" if character in new_letters else character for character in line)], tokenizer)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_characters_of_all_kinds_have_the_same_effect(tokenizer, new_letters):
    """All up to those of Chinese, and some of the others. They stand within a word, before one, and behind one."""
    points = [
        *range(1, 0x3100),
        *range(0x3100, 0xD800, 97),
        *range(0xE000, 0x20000, 29),
        *range(0x20000, 0x110000, 997),
    ]
    characters = [chr(point) for point in points if chr(point) not in new_letters]
    check([f"ab{each}cd '{each}x a{each}" for each in characters], tokenizer)


def test_what_differs_is_the_lower_case_of_letters_that_tensorflow_does_not_know(new_letters):
    assert "Ⱟ" in new_letters
    unchanged = tf.strings.lower(sorted(new_letters), encoding="utf-8").numpy().tolist()
    assert unchanged == [letter.encode() for letter in sorted(new_letters)]
    assert ids_of(["Ⱟ"], ["ⱟ"], "words") == [[0]]


@pytest.mark.parametrize("tokenizer", ["words", "simple"])
def test_nul_separates_words_as_in_the_dataset(tokenizer):
    """The pipeline makes it a space. TensorFlow's lower case ends at it, so that the SavedModel leaves the rest out."""
    assert ids_of(["a\0b"], ["a", "b"], tokenizer) == [[0, 1]]
    assert words_of(["a\0b"], tokenizer) == [["a"]]


def test_the_words_of_a_given_vocabulary_that_no_text_has_are_not_found():
    """The tokeniser of words writes a sigma at the end of a word as a final one, so λόγοσ is no word of a text."""
    vocabulary = ["λόγοσ", "λόγος", "σ", "ς", "Cat", "▁a", "a", " ", "two words", "\u2581"]
    assert ids_of(["λόγοσ ΛΌΓΟΣ λόγος Σ ς Cat ▁a ▁ two words"], vocabulary, "words") == [[1, 1, 1, 2, 2, 6]]
    assert ids_of(["▁a a ▁ Cat σ"], vocabulary, "whitespace") == [[5, 6, 9, 4, 2]]


def test_the_text_is_the_same_each_time_and_neither_pads_nor_cuts():
    first, second = (b"".join(tokenizer_json([f"w{i}" for i in range(25_000)], "words")) for _ in range(2))
    assert first == second
    tokenizer = Tokenizer.from_str(first.decode())
    assert tokenizer.get_vocab_size() == 25_000 and tokenizer.padding is None and tokenizer.truncation is None
    short, long = tokenizer.encode_batch(["w7", "w24999 " * 10_000])
    assert short.ids == [7] and long.ids == [24_999] * 10_000
