"""Embeddings from an OpenAI-compatible server."""

import numpy as np
import pytest

from frontdesk.errors import ModelUnavailable
from frontdesk.models.client import RemoteEmbedder


async def test_vectors_come_in_order_in_batches_and_at_unit_length(stub):
    embedder = await RemoteEmbedder.connect(stub.url, "good-key", "good", batch=4)
    rows = await embedder.embed(["x" * n for n in range(10)])
    assert embedder.dimensions == 3
    assert [len(body["input"]) for body in stub.bodies] == [1, 4, 4, 2]
    assert np.allclose(np.linalg.norm(rows, axis=1), 1.0)
    assert np.allclose(rows[:, 1] / rows[:, 0] * 3, range(10), atol=1e-4)
    await embedder.close()


@pytest.mark.parametrize(
    ("behaviour", "options", "sentence"),
    [
        ("silent", {}, "gave no vectors within 0.3 s"),
        ("nonsense", {}, "something else than vectors"),
        ("null", {}, "without a direction"),
        ("good", {"dimensions": 384}, "gives 3 dimensions where 384 are stored"),
    ],
)
async def test_each_failure_is_one_clear_sentence(stub, behaviour, options, sentence):
    embedder = RemoteEmbedder(stub.url, "good-key", behaviour, **{"dimensions": 3, "deadline": 0.3, **options})
    with pytest.raises(ModelUnavailable, match=sentence):
        await embedder.embed(["x"])
    await embedder.close()


async def test_a_server_that_is_away_is_named(stub):
    with pytest.raises(ModelUnavailable, match=r"the embedding server cannot be reached.*FRONTDESK_EMBEDDINGS_URL"):
        await RemoteEmbedder.connect("http://127.0.0.1:9", "", "m")


async def test_no_texts_make_no_call(stub):
    embedder = RemoteEmbedder(stub.url, "", "good", dimensions=3)
    assert (await embedder.embed([])).shape == (0, 3)
    assert not stub.bodies
