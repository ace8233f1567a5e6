"""The tokenisers: how a line is split into words.

They are made of TensorFlow operations, so they become part of the transform graph (see pipeline.text.count_words) and
of the models that are exported.
"""

import tensorflow as tf

# The class [\p{Z}\p{Cc}], dashes and the ellipsis. The characters at which tf.strings.split splits anyway are left out,
# because replacing every space by a space takes six times as long.
_SEPARATORS = (
    r"\x00-\x08\x0e-\x1f\x7f-\x{a0}\x{1680}\x{2000}-\x{200a}\x{2010}-\x{2015}\x{2026}\x{2028}\x{2029}\x{202f}"
    r"\x{205f}\x{3000}"
)


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
