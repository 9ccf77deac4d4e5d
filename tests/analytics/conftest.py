"""The embedded sentence encoder and the shipped head, loaded once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from frontdesk.analytics.sentiment import Sentiment
from frontdesk.models import registry
from frontdesk.models.embedder import SentenceEncoder
from frontdesk.settings import Settings


@pytest.fixture(scope="session")
def minilm(models_cache: Path) -> Iterator[SentenceEncoder]:
    embedder = SentenceEncoder(registry.pull(Settings().embeddings_model, models_cache))
    yield embedder
    embedder.close()


@pytest.fixture(scope="session")
def head() -> Sentiment:
    return Sentiment.load()
