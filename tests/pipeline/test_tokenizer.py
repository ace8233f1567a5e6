"""The tokenisers split text into the words that it is known to have."""

import string

import pytest
import tensorflow as tf
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.text.tokenizer import separated, tokenize
from tests.pipeline import reference
from tests.pipeline.helpers import deterministic, python


def words(line: str, tokenizer: str) -> list[str]:
    (row,) = tokenize(tf.constant([line]), tokenizer).to_list()
    return [word.decode() for word in row]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("The wide road", ["the", "wide", "road"]),
        ("Don't stop -- now, Mr. O'Neil!", ["dont", "stop", "now", "mr", "oneil"]),
        ("don’t “quote” ‘me’", ["dont", "quote", "me"]),
        ("well-known e-mail", ["wellknown", "email"]),
        ("roads—wide—shimmered", ["roads", "wide", "shimmered"]),
        ("1914–1918 and so on…then", ["1914", "1918", "and", "so", "on", "then"]),
        ("no\u00a0break\u3000ideographic\u2009thin\u2028line", ["no", "break", "ideographic", "thin", "line"]),
        ("tab\tand\x0bvertical\rreturn\x85next", ["tab", "and", "vertical", "return", "next"]),
        ("ÄÖÜ ÉCOLE ПРИВЕТ ΟΔΌΣ", ["äöü", "école", "привет", "οδός"]),
        ("3.14 and 1,000 and ½", ["314", "and", "1000", "and", "½"]),
        ("user@example.com $5 100% a+b=c #tag", ["userexamplecom", "5", "100", "abc", "tag"]),
        ("snow_case", ["snowcase"]),
        ("¿qué? «oui» 「好」、", ["qué", "oui", "好"]),
        ("I 😀 you 👩‍👩‍👧 all ☕ 👍🏽 🇩🇪", ["i", "you", "all"]),
        ("zero\u200bwidth soft\u00adhyphen \ufeffmark", ["zerowidth", "softhyphen", "mark"]),
        ("cafe\u0301 हिन्दी", ["cafe\u0301", "हिन्दी"]),
        ("", []),
        (" \t ", []),
        ("... !!! — 😀", []),
    ],
)
def test_simple_lower_cases_and_drops_punctuation(line, expected):
    assert words(line, "simple") == expected


@pytest.mark.parametrize("line", ["❤️", "☕️ ☀️", "©︎"], ids=ascii)
def test_a_symbol_with_a_variation_selector_is_no_word(line):
    """The selector, which asks for a coloured or a plain glyph, is invisible and must not stay behind as a word."""
    assert words(line, "simple") == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("The Road, don't!", ["The", "Road,", "don't!"]),
        ("item:17  item:4\titem:17\r", ["item:17", "item:4", "item:17"]),
        ("[PAD] — 😀 ❤️", ["[PAD]", "—", "😀", "❤️"]),
        ("a\x0bb\x0cc", ["a", "b", "c"]),
        ("no\u00a0break thin\u2009space", ["no\u00a0break", "thin\u2009space"]),
        ("", []),
        ("  ", []),
    ],
)
def test_whitespace_takes_tokens_as_they_are(line, expected):
    assert words(line, "whitespace") == expected


def test_rows_stay_rows():
    assert tokenize(tf.constant(["a b", "", "...", "c"]), "simple").to_list() == [[b"a", b"b"], [], [], [b"c"]]
    assert tokenize(tf.constant([], tf.string), "simple").to_list() == []


ASCII_LINE = st.text(st.sampled_from(string.ascii_letters + string.digits + string.punctuation + "    \t"), max_size=80)


@deterministic
@given(lines=st.lists(ASCII_LINE, min_size=1, max_size=5))
def test_on_ascii_simple_is_the_tutorials_rule(lines):
    """The TensorFlow tutorial turns text into lower case, deletes string.punctuation, and splits."""
    delete = str.maketrans("", "", string.punctuation)

    rows = tokenize(tf.constant(lines), "simple").to_list()

    assert rows == [line.lower().translate(delete).encode().split() for line in lines]


UNICODE_LINE = st.text(
    st.sampled_from(
        "abzABZ ÄÖÜäöüßéÉñжЖяЯαΑωΩ中文字かな한글٣५½²ªʼ"
        "‘’“”«»–—…‐‑-.,!?¡¿、。€£$+=<>|~^`©®™° \t\u00a0\u2003\u3000\u0301\u200d\u00ad"
    ),
    max_size=60,
)


@deterministic
@given(line=UNICODE_LINE)
def test_both_tokenizers_agree_with_character_by_character_rules(line):
    for tokenizer in ("simple", "whitespace"):
        assert words(line, tokenizer) == [word.decode() for word in reference.words(line.encode(), tokenizer)]


ANY_LINE = st.text(st.characters(exclude_characters="\0\n", exclude_categories=["Cs"]) | st.sampled_from("ΣΑα'. "))


@deterministic
@given(lines=st.lists(ASCII_LINE | UNICODE_LINE | ANY_LINE, max_size=5))
@example(lines=["".join(map(chr, [*range(1, 10), *range(11, 128)])), *map("a{}B".format, map(chr, range(11, 128)))])
@example(lines=["ΟΔΟΣ-ΑΒ ΟΔΟΣ'ΑΒ ΟΔΟΣ", "ΟΔΟΣ ΑΒ", "", "É-\x1cE"])
def test_separated_leaves_the_words_of_tokenize(lines):
    """Also those that depend on their neighbours: a Greek sigma at the end of a word has a lower case of its own."""
    lines = [line.encode() for line in lines]
    for tokenizer in ("simple", "whitespace"):
        expected = tokenize(tf.constant(lines, tf.string), tokenizer).to_list()

        assert [line.split() for line in separated(lines, tokenizer)] == expected


def test_words_do_not_depend_on_the_locale():
    """In Turkish the lower case of I is not i, but a corpus must give the same words on every machine."""
    script = """
import tensorflow as tf
from pipeline.text.tokenizer import tokenize
print(ascii([word.decode() for word in tokenize(tf.constant(["INDIA TITLE İ"]), "simple").flat_values.numpy()]))
"""
    expected = ["india", "title", "i\u0307"]

    assert words("INDIA TITLE İ", "simple") == expected
    assert python(script, LC_ALL="tr_TR.UTF-8") == ascii(expected) + "\n"
