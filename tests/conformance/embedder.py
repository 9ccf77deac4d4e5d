"""What every Embedder does. Subclasses provide the fixture `embedder`."""

import asyncio

import numpy as np
import pytest

from frontdesk.models.protocols import Embedder

STRANGE = ["", " ", "\x00\x07", "🎉🎉", "你好，我的卡在哪里？", "half a pair: \ud83d", "x" * 100_000, "word " * 5_000]


class EmbedderConformance:
    async def test_each_text_gets_one_float32_row_of_the_stated_width(self, embedder: Embedder):
        rows = await embedder.embed(["one card", "two cards", "a branch"])
        assert rows.shape == (3, embedder.dimensions)
        assert rows.dtype == np.float32

    async def test_every_row_has_length_one(self, embedder: Embedder):
        rows = await embedder.embed([f"question number {n} about a fee" for n in range(40)])
        assert np.allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-4)

    async def test_rows_come_in_the_order_of_the_texts(self, embedder: Embedder):
        texts = [("fee " * (1 + n % 17)).strip() + f" {n}" for n in range(40)]
        together = await embedder.embed(texts)
        for n in (0, 16, 39):
            assert float(together[n] @ (await embedder.embed([texts[n]]))[0]) == pytest.approx(1.0, abs=1e-3)

    async def test_the_same_text_has_the_same_vector(self, embedder: Embedder):
        rows = await embedder.embed(["where is my card", "a branch", "where is my card"])
        assert np.allclose(rows[0], rows[2], atol=1e-5)

    async def test_no_texts_give_no_rows(self, embedder: Embedder):
        assert (await embedder.embed([])).shape == (0, embedder.dimensions)

    @pytest.mark.parametrize("text", STRANGE, ids=range(len(STRANGE)))
    async def test_any_text_has_a_vector(self, embedder: Embedder, text: str):
        row = (await embedder.embed([text]))[0]
        assert float(np.linalg.norm(row)) == pytest.approx(1.0, abs=1e-4)

    async def test_texts_that_share_words_are_nearer_than_texts_that_do_not(self, embedder: Embedder):
        rows = await embedder.embed(["the fee for a lost card", "a lost card costs a fee", "rain falls on mountains"])
        assert rows[0] @ rows[1] > rows[0] @ rows[2]

    async def test_calls_at_the_same_time_do_not_mix(self, embedder: Embedder):
        texts = [f"matter {n}" for n in range(20)]
        apart = await asyncio.gather(*(embedder.embed([text]) for text in texts))
        assert np.allclose(np.concatenate(apart), await embedder.embed(texts), atol=1e-3)
