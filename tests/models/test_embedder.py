"""MiniLM and MPNet on ONNX Runtime compute what their papers say, and let no query wait for an index run."""

import asyncio
import json
import math
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file
from tests.conformance.embedder import EmbedderConformance
from tokenizers import Tokenizer

from frontdesk.errors import ModelMissing, ModelUnavailable
from frontdesk.models.embedder import SentenceEncoder


class TestMiniLM(EmbedderConformance):
    @pytest.fixture
    def embedder(self, minilm):
        return minilm


def reference(folder, text: str) -> tuple[np.ndarray, np.ndarray]:
    """The forward pass of BERT or MPNet written out in float64: the last states (tokens, hidden) and the unit mean (hidden,)."""
    w = {k: v.astype(np.float64) for k, v in load_file(folder / "model.safetensors").items() if v.dtype == np.float32}
    config = json.loads((folder / "config.json").read_text())
    heads, eps = config["num_attention_heads"], config["layer_norm_eps"]
    erf = np.vectorize(math.erf)

    def dense(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * w[f"{name}.weight"] + w[f"{name}.bias"]

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    ids = tokenizer.encode(text).ids
    e = "embeddings"
    mpnet = config["model_type"] == "mpnet"
    first = 2 if mpnet else 0
    x = w[f"{e}.word_embeddings.weight"][ids] + w[f"{e}.position_embeddings.weight"][first : first + len(ids)]
    x = x if mpnet else x + w[f"{e}.token_type_embeddings.weight"][0]
    parts, out, after = ("query", "key", "value"), "attention.output.dense", "attention.output.LayerNorm"
    by_distance = 0.0
    if mpnet:
        parts, out, after = ("q", "k", "v"), "attention.attn.o", "attention.LayerNorm"
        by_distance = np.array([[bias_row(w, j - i) for j in range(len(ids))] for i in range(len(ids))]).transpose(2, 0, 1)
    inside = "attention.attn" if mpnet else "attention.self"
    x = norm(x, f"{e}.LayerNorm")
    for n in range(config["num_hidden_layers"]):
        p = f"encoder.layer.{n}"
        q, k, v = (dense(x, f"{p}.{inside}.{part}").reshape(len(ids), heads, -1).swapaxes(0, 1) for part in parts)
        scores = q @ k.swapaxes(1, 2) / math.sqrt(q.shape[-1]) + by_distance
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        attended = (weights / weights.sum(-1, keepdims=True) @ v).swapaxes(0, 1).reshape(len(ids), -1)
        x = norm(dense(attended, f"{p}.{out}") + x, f"{p}.{after}")
        inner = dense(x, f"{p}.intermediate.dense")
        x = norm(dense(inner * 0.5 * (1 + erf(inner / math.sqrt(2))), f"{p}.output.dense") + x, f"{p}.output.LayerNorm")
    mean = x.mean(0)
    return x, mean / np.linalg.norm(mean)


def bias_row(w, apart: int) -> np.ndarray:
    """What MPNet adds to each head for a token that stands `apart` places after the one that looks: 32 buckets, half of them for after."""
    far = abs(apart)
    bucket = far if far < 8 else min(15, 8 + int(math.log(far / 8) / math.log(128 / 8) * 8))
    return w["encoder.relative_attention_bias.weight"][bucket + (16 if apart > 0 else 0)]


TEXT = "The annual fee for the card is 45 euros; it is waived in the first year."


async def test_a_sentence_vector_equals_the_forward_pass_written_out(minilm, minilm_folder):
    _, expected = reference(minilm_folder, TEXT)
    assert np.abs((await minilm.embed([TEXT]))[0] - expected).max() < 2e-5


LONG = " ".join(f"{TEXT} Rule {n} of the house holds as well." for n in range(7))


@pytest.mark.parametrize("text", [TEXT, LONG], ids=["near", "far apart"])
async def test_mpnet_equals_its_forward_pass_too(mpnet_folder, text):
    exact, small = SentenceEncoder(mpnet_folder), SentenceEncoder(mpnet_folder, precision="int8")
    _, expected = reference(mpnet_folder, text)
    assert np.abs((await exact.embed([text, "short"]))[0] - expected).max() < 2e-5
    assert (await small.embed([text, "short"]))[0] @ expected > 0.998
    exact.close()
    small.close()


async def test_padding_beside_longer_texts_changes_nothing(minilm, minilm_folder):
    _, expected = reference(minilm_folder, TEXT)
    rows = await minilm.embed([TEXT, *(f"{TEXT} {TEXT} And number {n}." for n in range(12))])
    assert np.abs(rows[0] - expected).max() < 2e-5


async def test_token_vectors_equal_the_last_states_without_the_marks(minilm, minilm_folder):
    states, _ = reference(minilm_folder, TEXT)
    expected = states[1:-1] / np.linalg.norm(states[1:-1], axis=1, keepdims=True)
    rows = (await minilm.embed_tokens([TEXT]))[0]
    assert rows.shape == (minilm.token_count(TEXT), 384)
    assert np.abs(rows - expected).max() < 5e-5


async def test_tokens_know_their_place_in_the_text(minilm):
    tokens = (await minilm.tokens(["Fees: 45 euros"]))[0]
    assert ["Fees: 45 euros"[t.start : t.end] for t in tokens] == ["Fees", ":", "45", "euros"]


async def test_an_empty_text_has_no_tokens(minilm):
    assert (await minilm.embed_tokens(["", "a"]))[0].shape == (0, 384)


async def test_meaning_counts_more_than_words(minilm):
    rows = await minilm.embed(
        ["I can't log in any more", "How do I reset my password?", "How do I log a delivery?", "Opening hours on Sunday"]
    )
    assert rows[0] @ rows[1] > rows[0] @ rows[2] > rows[0] @ rows[3]


def test_tokens_are_counted_beyond_what_the_model_reads(minilm):
    assert minilm.token_count("fee " * 1000) == 1000


async def test_a_query_does_not_wait_for_an_index_run(minilm):
    passages = [f"{n}: {'the fee for a lost card is waived in the first year ' * 12}" for n in range(60)]
    bulk = asyncio.create_task(minilm.embed(passages))
    await asyncio.sleep(0.2)
    for n in range(5):
        await minilm.embed([f"a question that is new, number {n}"])
    assert not bulk.done(), "five queries in turn were faster than one index run that began before them"
    await bulk


async def test_a_cancelled_index_run_stops_after_the_batch_in_hand(minilm):
    passages = [f"{n}: {'the fee for a lost card is waived in the first year ' * 12}" for n in range(300)]
    bulk = asyncio.create_task(minilm.embed(passages))
    await asyncio.sleep(0.1)
    bulk.cancel()
    with pytest.raises(asyncio.CancelledError):
        await bulk
    await asyncio.wait_for(minilm.embed(["short"] * 9), 5)  # the long lane is free again


async def test_eight_bit_weights_keep_the_direction_and_do_not_depend_on_the_neighbours(minilm, minilm_folder):
    small = SentenceEncoder(minilm_folder, precision="int8")
    texts = [TEXT, "Where is the nearest branch?", *(f"question {n} about a fee" for n in range(10))]
    full, rough = await minilm.embed(texts), await small.embed(texts)
    assert (full * rough).sum(1).min() > 0.998
    assert np.abs(rough[0] - (await small.embed([f"{TEXT} ", TEXT]))[1]).max() < 1e-5
    small.close()


async def test_a_closed_embedder_is_unavailable(minilm_folder):
    embedder = SentenceEncoder(minilm_folder)
    embedder.close()
    with pytest.raises(ModelUnavailable):
        await embedder.embed(["x"])


@pytest.fixture
def copy(minilm_folder, tmp_path):
    folder = tmp_path / "all-minilm-l6-v2"
    folder.mkdir()
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        (folder / name).hardlink_to(minilm_folder / name) if name == "model.safetensors" else shutil.copy(minilm_folder / name, folder)
    return folder


async def test_a_damaged_graph_is_built_anew(copy):
    SentenceEncoder(copy).close()
    graph = next(copy.glob("*.onnx"))
    graph.write_bytes(graph.read_bytes()[:1000])
    embedder = SentenceEncoder(copy)
    assert (await embedder.embed(["x"])).shape == (1, 384)
    embedder.close()


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_missing_file_is_named_with_a_remedy(copy, file):
    (copy / file).unlink()
    with pytest.raises(ModelMissing, match="pull it again"):
        SentenceEncoder(copy)


def test_another_kind_of_model_is_refused_by_its_kind(copy):
    (copy / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ModelMissing, match="gpt2 model, neither BERT nor MPNet"):
        SentenceEncoder(copy)
