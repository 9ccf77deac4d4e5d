"""A small language model for a recogniser, from the sentences one expects: pairs of words with absolute discounting (Ney et al. 1994).

Refuses words that the recogniser cannot pronounce: they are left out, and what is left of a sentence counts.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Set

DISCOUNT = 0.5
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_NEVER = -99.0


def words_in(sentence: str) -> list[str]:
    """The words of a sentence as the model writes them."""
    return _WORD.findall(sentence.lower().replace("’", "'"))


def bigrams(sentences: Iterable[str], known: Set[str]) -> str:
    """The model in ARPA form; empty when no word of the sentences is known."""
    words, pairs = Counter[str](), Counter[tuple[str, str]]()
    for sentence in sentences:
        said = [w for w in words_in(sentence) if w in known]
        if said:
            words.update([*said, "</s>"])
            pairs.update(zip(["<s>", *said], [*said, "</s>"], strict=True))
    if not words:
        return ""
    total = sum(words.values())
    share = {word: count / total for word, count in words.items()}
    before, after = Counter[str](), defaultdict[str, set[str]](set)
    for (first, second), count in pairs.items():
        before[first] += count
        after[first].add(second)

    def left(word: str) -> float:
        """What is held back after a word, for the words that never followed it, as a logarithm."""
        if not before[word]:
            return 0.0
        kept = DISCOUNT * len(after[word]) / before[word]
        return math.log10(max(1e-5, kept / max(1e-9, 1 - sum(share[w] for w in after[word]))))

    ones = [f"{_NEVER if w == '<s>' else math.log10(share[w]):.4f} {w} {left(w):.4f}" for w in ["<s>", *sorted(words)]]
    twos = [f"{math.log10((count - DISCOUNT) / before[a]):.4f} {a} {b}" for (a, b), count in sorted(pairs.items())]
    head = ["\\data\\", f"ngram 1={len(ones)}", f"ngram 2={len(twos)}", ""]
    return "\n".join([*head, "\\1-grams:", *ones, "", "\\2-grams:", *twos, "", "\\end\\", ""])
