"""The tokenisers split text into the words that it is known to have."""

import string

import pytest
import tensorflow as tf
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.text.tokenizer import separated, tokenize
from tests.pipeline import reference
from tests.pipeline.helpers import deterministic, python

TOKENIZERS = ("words", "simple", "whitespace")


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


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("The xml.etree.ElementTree, os/path", ["the", "xml", "etree", "elementtree", "os", "path"]),
        ("Don't stop -- now, Mr. O'Neil!", ["don't", "stop", "now", "mr", "o'neil"]),
        ("don’t “quote” ‘me’ 'em rock 'n' roll the dogs' ''", "don't quote me em rock n roll the dogs".split()),
        ("well-known e‑mail, 1914–1918…then", ["well", "known", "e", "mail", "1914", "1918", "then"]),
        ("snow_case f(x)=[y] <b>bold</b>", ["snow", "case", "f", "x", "y", "b", "bold", "b"]),
        ("3.14 and 1,000 and 90's and 5'11\" and ½ m²", "3 14 and 1 000 and 90's and 5'11 and ½ m²".split()),
        ("me@example.com $5 100% a+b=c #tag C++", "me example com 5 100 a b c tag c".split()),
        # Greek: a sigma at the end of a word has a shape of its own, whatever follows the word.
        ("ΟΔΟΣ, ΟΔΟΣ.ΑΒ οδος οδοσ ΣΟΦΟΣ'Σ Σ 2Σ", ["οδος", "οδος", "αβ", "οδος", "οδος", "σοφοσ'σ", "σ", "2σ"]),
        ("Ο ΛΌΓΟΣ ΛΟ\u0301Σ", ["ο", "λόγος", "λο\u0301ς"]),
        # Turkish: both dotted capitals are the plain i, as in the lower case of the same word.
        ("İstanbul I\u0307çin için ILIK ılık", ["istanbul", "için", "için", "ilik", "ılık"]),
        ("Straße STRAẞE STRASSE", ["straße", "straße", "strasse"]),
        # Hindi and Persian: vowel signs are marks, and joiners inside a word belong to its spelling.
        ("हिन्दी में लिखें। क्\u200dष रा\u200c", ["हिन्दी", "में", "लिखें", "क्\u200dष", "रा"]),
        ("می\u200cخواهم، کتاب\u200cها؟", ["می\u200cخواهم", "کتاب\u200cها"]),
        ("র\u200d্যাব \u200dক", ["র\u200d্যাব", "ক"]),
        ("اَلْعَرَبِيَّةُ، كتاب؛ ٣٫١٤", ["اَلْعَرَبِيَّةُ", "كتاب", "٣", "١٤"]),
        ("cafe\u0301 Ångström ПРИВЕТ об'єкт об’єкт", ["cafe\u0301", "ångström", "привет", "об'єкт", "об'єкт"]),
        ("I 😀 you 👩‍👩‍👧 all ☕ 👍🏽 🇩🇪 ❤️ 1️⃣", ["i", "you", "all", "1\u20e3"]),
        ("soft\u00adhyphen \ufeffmark \u200eleft\u200f", ["softhyphen", "mark", "left"]),
        ("zero\u200bwidth no\u00a0break ideographic\u3000space", "zero width no break ideographic space".split()),
        # The words of Chinese and Japanese are not found.
        ("我爱北京。我爱", ["我爱北京", "我爱"]),
        ("\u0301 \u200d ' ’ '' -- . 😀", []),
        ("", []),
    ],
    ids=ascii,
)
def test_words_are_runs_of_letters_marks_and_digits(line, expected):
    assert words(line, "words") == expected
    assert words(" ".join(expected), "words") == expected


@pytest.mark.parametrize("tokenizer", ["simple", "words"])
@pytest.mark.parametrize("line", ["❤️", "☕️ ☀️", "©︎"], ids=ascii)
def test_a_symbol_with_a_variation_selector_is_no_word(line, tokenizer):
    """The selector, which asks for a coloured or a plain glyph, is invisible and must not stay behind as a word."""
    assert words(line, tokenizer) == []


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


# Characters that mean something to the tokeniser of words, so that many of them stand side by side.
NASTY_LINE = st.text(
    st.sampled_from("aZ9éİIiΣσςα ''’ʼ-._\u0301\u0307\u093f\u200b\u200c\u200d\u00ad\ufe0f\u00a0\u20e3中٣😀\ufeff\t"),
    max_size=30,
)


@deterministic
@given(line=UNICODE_LINE | NASTY_LINE)
def test_all_tokenizers_agree_with_character_by_character_rules(line):
    for tokenizer in TOKENIZERS:
        assert words(line, tokenizer) == [word.decode() for word in reference.words(line.encode(), tokenizer)]


APOSTROPHES = st.text(st.sampled_from("aB' ''.\t"), max_size=20)
ANY_LINE = st.text(st.characters(exclude_characters="\0\n", exclude_categories=["Cs"]) | st.sampled_from("ΣΑα'. "))


@deterministic
@given(lines=st.lists(ASCII_LINE | APOSTROPHES | UNICODE_LINE | NASTY_LINE | ANY_LINE, max_size=5))
@example(lines=["".join(map(chr, [*range(1, 10), *range(11, 128)])), *map("a{}B".format, map(chr, range(11, 128)))])
@example(lines=["ΟΔΟΣ-ΑΒ ΟΔΟΣ'ΑΒ ΟΔΟΣ", "ΟΔΟΣ ΑΒ", "", "É-\x1cE"])
def test_separated_leaves_the_words_of_tokenize(lines):
    """Also those that depend on their neighbours: a Greek sigma at the end of a word has a lower case of its own."""
    lines = [line.encode() for line in lines]
    for tokenizer in TOKENIZERS:
        expected = tokenize(tf.constant(lines, tf.string), tokenizer).to_list()

        assert [line.split() for line in separated(lines, tokenizer)] == expected


def test_words_do_not_depend_on_the_locale():
    """In Turkish the lower case of I is not i, and in Lithuanian J and Ì get a dot before an accent."""
    script = """
import os, sys
import tensorflow as tf
from pipeline.text.tokenizer import tokenize
for locale in sys.argv[1:]:  # a process takes its locale when it first asks for a lower case
    if not (child := os.fork()):
        os.environ["LC_ALL"] = locale
        for tokenizer in ("simple", "words"):
            words = tokenize(tf.constant(["INDIA İ J\u0301 Ì Í Ĩ Į\u0301"]), tokenizer)
            print(ascii([word.decode() for word in words.flat_values.numpy()]), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""
    by_simple = ["india", "i\u0307", "j\u0301", "ì", "í", "ĩ", "į\u0301"]
    by_words = ["india", "i", *by_simple[2:]]

    printed = python(script, "tr_TR.UTF-8", "lt_LT.UTF-8").splitlines()

    assert printed == [ascii(by_simple), ascii(by_words)] * 2
