"""How strongly two words belong together. Pure Python.

The scores are those of gensim's Phrases, with the same operations in the same order, so they are equal to the last bit.
"""

import math
from typing import NamedTuple

NO_SCORE = -math.inf  # of a pair that is no phrase, whatever the threshold


class Totals(NamedTuple):
    """What the score of each pair depends on."""

    distinct: int  # distinct words and distinct pairs together
    words: int  # words of the text


def phrase_score(scoring: str, first: int, second: int, pair: int, totals: Totals, min_count: int) -> float:
    """The score of a pair of words, which is a phrase if its score is above the threshold.

    Args:
        scoring: `default` is (pair - min_count) / (first * second) from Mikolov et al. 2013, "Distributed
            Representations of Words and Phrases and their Compositionality", times the number of distinct words and
            pairs. `npmi` is the normalised pointwise mutual information from Bouma 2009, "Normalized (Pointwise) Mutual
            Information in Collocation Extraction"; it lies between -1 and 1.
        first: how often the text has the first word.
        second: how often the text has the second word.
        pair: how often the text has the two joined.
        totals: of the text.
        min_count: a pair that is rarer is no phrase.
    """
    if scoring == "default":
        return (pair - min_count) / float(first * second) * totals.distinct
    if pair < min_count:
        return NO_SCORE
    p_first, p_second, p_pair = (count / float(totals.words) for count in (first, second, pair))
    return math.log(p_pair / (p_first * p_second)) / -math.log(p_pair)
