"""Tokenisers, as TensorFlow operations: they become part of the transform graph, and so of what is exported."""

import tensorflow as tf

# [\p{Z}\p{Cc}], dashes and the ellipsis, without what tf.strings.split takes for white space anyway: replacing every
# space by a space takes six times as long.
_SEPARATORS = (
    r"\x00-\x08\x0e-\x1f\x7f-\x{a0}\x{1680}\x{2000}-\x{200a}\x{2010}-\x{2015}\x{2026}\x{2028}\x{2029}\x{202f}"
    r"\x{205f}\x{3000}"
)


def tokenize(lines: tf.Tensor, tokenizer: str) -> tf.RaggedTensor:
    """Splits lines into words.

    Args:
        lines: [N] string, UTF-8.
        tokenizer: `whitespace` takes what stands between ASCII white space as it is (item or session ids);
            `simple` lower-cases (Unicode), takes dashes and ellipses other than ASCII's for white space, and removes
            all other punctuation and symbols. On ASCII text that is what TensorFlow's word2vec tutorial does.

    Returns:
        [N, words] string. Only one with no words in it is empty.
    """
    if tokenizer == "simple":
        # The two letters that lower() takes differently where the process's locale is Turkish.
        for upper, lower in (("I", "i"), ("İ", "i\u0307")):
            lines = tf.strings.regex_replace(lines, upper, lower)
        lines = tf.strings.lower(lines, encoding="utf-8")
        lines = tf.strings.regex_replace(lines, f"[{_SEPARATORS}]+", " ")
        lines = tf.strings.regex_replace(lines, r"[\p{P}\p{S}\p{Cf}\x{FE00}-\x{FE0F}]+", "")
    return tf.strings.split(lines)
