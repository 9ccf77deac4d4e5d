"""The recipes `faq`, `embedding` and `intent` from end to end, small. Skipped without the `train` extra."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="NOT TESTED: training needs torch (pip install 'frontdesk[train]')")
pytest.importorskip("peft", reason="NOT TESTED: training needs peft (pip install 'frontdesk[train]')")
pytestmark = pytest.mark.train

# After the checks: these modules need torch and peft, and without them the file is to be skipped, not broken.
from tests.training.tiny import make_base  # noqa: E402

from frontdesk.domain.knowledge import FaqPair  # noqa: E402
from frontdesk.errors import BadInput  # noqa: E402
from frontdesk.models.embedder import SentenceEncoder  # noqa: E402
from frontdesk.training import preparing, runfile  # noqa: E402
from frontdesk.training.classifying import Classifier  # noqa: E402
from frontdesk.training.data import Voice, from_faq, report  # noqa: E402
from frontdesk.training.embedding import without_label  # noqa: E402
from frontdesk.training.encoders import Contrast, contrast, learn  # noqa: E402
from frontdesk.training.finetune import Parameters  # noqa: E402
from frontdesk.training.runs import Place  # noqa: E402
from frontdesk.training.tuning import tune  # noqa: E402
from frontdesk.training.unlabelled import learn_with  # noqa: E402
from frontdesk.training.worker import Desk, Stopped  # noqa: E402

THINGS = ("a book", "a film", "a record", "a game", "a map", "a magazine", "an atlas", "a puzzle")
PAIRS = [FaqPair(question=f"How do I renew {thing}?", answer=f"It costs £{n + 2}.50 at desk {n + 10}.") for n, thing in enumerate(THINGS)]
SMALL = Parameters(epochs=2, batch=8, rank=4, alpha=8, rate=3e-3, threads=1, dtype="float32", per_group=1)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


def prepared(folder: Path, base: Path, **data: object) -> Place:
    place = Place(folder)
    run = runfile.RunFile(
        name="tiny", recipe="faq", model=str(base), parameters=SMALL, eval_prompts=("How do I renew a map?",), data=runfile.Data(**data)
    )
    examples = from_faq(PAIRS, Voice(company="Larkfield Library"))
    place.write(run)
    preparing.Prepared(examples=tuple(examples), voice=Voice(company="Larkfield Library"), report=report(examples)).write(folder)
    return place


async def test_the_faq_recipe_trains_judges_and_reports(base: Path, tmp_path: Path, models_cache: Path) -> None:
    place = prepared(tmp_path / "run", base, replay=0.5)
    await tune(Desk(place.folder))
    told = json.loads((place.folder / "report.json").read_text())
    assert told["verdict"].startswith("do not ship: recall is 0.")
    assert [s["name"] for s in told["sides"]] == [
        "base model",
        "tuned",
        "tuned, without the prefix",
        "retrieval alone",
        "tuned + retrieval",
    ]
    assert told["figures"]["perplexity_ratio"] > 0
    assert told["figures"]["retrieval_alone"] > 0.5
    assert (place.folder / "adapter" / "adapter_model.safetensors").is_file()
    assert "<svg" in (place.folder / "curves.svg").read_text()
    assert "How do I renew a map?" in (place.folder / "samples.jsonl").read_text()


async def test_a_stopped_run_goes_on_and_is_judged(base: Path, tmp_path: Path, models_cache: Path) -> None:
    place = prepared(tmp_path / "run", base)
    (place.folder / "stop").touch()
    with pytest.raises(Stopped):
        await tune(Desk(place.folder))
    assert not (place.folder / "report.json").exists()
    (place.folder / "stop").unlink()
    await tune(Desk(place.folder))
    assert (place.folder / "report.json").is_file()


def test_a_classifier_on_the_language_model_learns_its_labels(base: Path, tmp_path: Path) -> None:
    rows = [(f"please renew {thing} number {n}", "renew") for n, thing in enumerate(THINGS)]
    rows += [(f"where is the shelf of {thing} now {n}", "where") for n, thing in enumerate(THINGS)]
    how = dataclasses.replace(SMALL, epochs=12, rate=1e-2)
    one = Classifier.learn(rows, base, how)
    assert one is not None
    assert one.predict([t for t, _ in rows]) == [label for _, label in rows]
    one.save(tmp_path / "c")
    assert {p.name for p in (tmp_path / "c").iterdir()} >= {"adapter_model.safetensors", "head.safetensors", "labels.json"}
    assert Classifier.learn(rows, base, how, stop=lambda: True) is None
    with pytest.raises(BadInput, match="two labels"):
        Classifier.learn(rows[:4], base, how)


def test_contrastive_loss_is_small_when_likes_are_together() -> None:
    together = torch.eye(4).repeat_interleave(2, 0)
    mixed = torch.eye(4).repeat(2, 1)
    labels = torch.arange(4).repeat_interleave(2)
    assert float(contrast(together, labels)) < 0.01 < float(contrast(mixed, labels))


async def test_an_encoder_learns_and_the_desks_embedder_reads_its_updates(models_cache: Path, tmp_path: Path) -> None:
    base = models_cache / "models" / "all-minilm-l6-v2"
    texts = [(f"{verb} {thing}", thing) for thing in THINGS for verb in ("renew", "where is", "the price of")]
    encoder = learn([t for t, _ in texts], [x for _, x in texts], base, Contrast(steps=6, labels=8, rank=4, rate=2e-3, dropout=0.0))
    assert encoder is not None
    encoder.save(tmp_path / "e.safetensors", base="all-minilm-l6-v2")
    frozen, tuned = SentenceEncoder(base), SentenceEncoder(base, name="tuned", adapter=tmp_path / "e.safetensors")
    asked = [t for t, _ in texts]
    with torch.no_grad():
        ours = encoder(asked).numpy()
    served = await tuned.embed(asked)
    assert abs(ours - served).max() < 0.003
    assert abs(served - await frozen.embed(asked)).max() > 0.01
    with pytest.raises(BadInput, match="two labels with two texts"):
        learn(["a", "b"], ["x", "y"], base, Contrast())
    shutil.rmtree(tmp_path, ignore_errors=True)


async def test_messages_without_a_label_are_learnt_from(models_cache: Path, tmp_path: Path) -> None:
    base = models_cache / "models" / "all-minilm-l6-v2"
    known = [(f"{verb} {thing}", verb) for verb in ("please renew", "where is") for thing in ("the book", "the map")]
    others = [f"{verb} {thing}" for verb in ("could you renew", "where do I find") for thing in THINGS[:4]]
    how = Contrast(steps=4, labels=2, rank=4, rate=1e-3)
    guessed = await learn_with(known, others, base, how, tmp_path / "e.safetensors")
    assert guessed is not None
    assert [text for text, _ in guessed] == others
    assert {label for text, label in guessed if "renew" in text} == {"please renew"}
    assert {label for text, label in guessed if "where" in text} == {"where is"}
    assert (tmp_path / "e.safetensors").is_file()
    assert await learn_with(known, others, base, how, tmp_path / "none", stop=lambda: True) is None
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(("data", "left"), [({}, []), ({"dataset": "known.jsonl", "unlabelled": "more.jsonl"}, ["where to"])])
def test_texts_that_are_tested_are_not_learnt_from_unlabelled(tmp_path: Path, data: dict[str, str], left: list[str]) -> None:
    (tmp_path / "more.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in ("where to", "seen", "tested", "where to")))
    place = Place(tmp_path / "run")
    place.write(runfile.RunFile(name="tiny", recipe="embedding", data=runfile.Data(**{k: str(tmp_path / v) for k, v in data.items()})))
    assert without_label(Desk(place.folder), [("seen", "a")], [("tested", "a")]) == left


def test_an_faq_gives_no_labels_to_messages(tmp_path: Path) -> None:
    place = Place(tmp_path / "run")
    place.write(runfile.RunFile(name="tiny", recipe="embedding", data=runfile.Data(unlabelled="more.jsonl")))
    with pytest.raises(BadInput, match="entries of an FAQ are no labels"):
        without_label(Desk(place.folder), [], [])
