"""Words about words: stems, and the everyday words that say nothing about an argument. English."""

from __future__ import annotations

from functools import lru_cache

import snowballstemmer

_IRREGULAR = {"children": "child", "people": "person", "men": "man", "women": "woman", "kids": "child", "kid": "child"}
_stemmer = snowballstemmer.stemmer("english")


def words(text: str) -> frozenset[str]:
    """The words of a text as a set; how word lists are written in this room."""
    return frozenset(text.split())


STOP = words(
    "a an the of for to in on at by is are was were be been as or and not it its this that which with from into your you i my me we our "
    "number name value yyyy mm dd day date leave out one only example such like needs need ask missing whose what when who how please "
    "would want wanted customer signed person member user if there between per"
)
"""Words of descriptions and questions that tell no argument from another."""


@lru_cache(maxsize=8192)
def stem(word: str) -> str:
    """The English stem of one lower-case word."""
    return str(_stemmer.stemWord(_IRREGULAR.get(word, word)))
