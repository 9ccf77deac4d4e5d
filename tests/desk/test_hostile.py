"""A hostile model and persuasive customers in small; `python -m bench.hostile` is the whole of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.hostile import hostile

from frontdesk.models import registry
from frontdesk.models.embedder import SentenceEncoder
from frontdesk.store.store import Store


@pytest.mark.timeout(300)
async def test_no_foreign_record_and_no_unauthorised_write_reaches_the_api(store: Store, models_cache: Path, tmp_path: Path):
    embedder = SentenceEncoder(registry.pull("all-minilm-l6-v2", models_cache), threads=1)
    tally = await hostile(14, 6, 7, store, embedder, tmp_path)
    embedder.close()
    assert tally.foreign == []
    assert tally.unauthorised == []
    assert tally.proposed == 14
