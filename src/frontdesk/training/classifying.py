"""The recipe `intent`: a classifier as an adapter on the language model, and beside it the embedding head that the desk uses by default.

Both learn the same labelled texts and are tested on the same others; the report says which of them to use. The adapter reads the state
of the language model at the last token of the text; a linear layer turns it into scores per label.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from frontdesk.desk.intent import support_set
from frontdesk.desk.intent_head import read_rows
from frontdesk.errors import BadInput, TrainingFailed
from frontdesk.knowledge.tenants import load_faq
from frontdesk.models import registry
from frontdesk.models.embedder import SentenceEncoder
from frontdesk.training.bases import base_folder, require_packages
from frontdesk.training.embedding import BASE, Rows, by_head, fifth_apart, write_report
from frontdesk.training.finetune import Parameters
from frontdesk.training.preparing import tenant_of
from frontdesk.training.worker import Desk, Stopped

TOKENS = 64


async def learn_intents(desk: Desk) -> None:
    """The whole run. Raises Stopped, BadInput, TrainingFailed."""
    require_packages()
    train, test = _rows(desk)
    desk.say(f"{len(train)} texts to learn, {len(test)} to test, {len({label for _, label in train})} labels")
    base = base_folder(desk.run.model, desk.settings.cache)
    begun = time.monotonic()
    learnt = Classifier.learn(train, base, desk.run.parameters, on_step=_shower(desk), stop=desk.stop)
    if learnt is None:
        raise Stopped
    seconds = time.monotonic() - begun
    learnt.save(desk.folder / "classifier")
    desk.say("testing it beside the embedding head")
    said = learnt.predict([t for t, _ in test])
    head = await by_head(train, test, SentenceEncoder(registry.pull(BASE, desk.settings.cache), threads=1))
    figures: dict[str, Any] = {
        "texts": len(train),
        "tested": len(test),
        "seconds": seconds,
        "accuracy (adapter)": sum(a == label for a, (_, label) in zip(said, test, strict=True)) / len(test),
        **{f"{key} (embedding head)": value for key, value in head.items()},
    }
    write_report(desk, figures, "accuracy (adapter)", "accuracy (embedding head)", desk.folder / "classifier")


class Classifier:
    """A language model with a LoRA adapter and a linear layer over its last state."""

    def __init__(self, learner: Any, head: Any, labels: Sequence[str]) -> None:
        self._learner, self._head, self._labels = learner, head, list(labels)

    @classmethod
    def learn(
        cls,
        rows: Rows,
        base: Path,
        parameters: Parameters,
        *,
        on_step: Callable[[int, int, float], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> Classifier | None:
        """Train on (text, label); None when it was stopped. Raises BadInput for fewer than two labels."""
        import torch
        from torch import nn
        from torch.nn import functional

        from frontdesk.training.learner import Learner

        labels = sorted({label for _, label in rows})
        if len(labels) < 2:
            raise BadInput(f"intent needs two labels at least, the data has {len(labels)}: add texts of other intents")
        p = parameters
        if p.threads:
            torch.set_num_threads(p.threads)
        learner = Learner(base, method="lora", rank=p.rank, alpha=p.alpha, dropout=p.dropout, dtype=p.dtype, device=p.device, seed=p.seed)
        head = nn.Linear(learner.hidden, len(labels)).to(learner.device)
        nn.init.normal_(head.weight, std=0.02)
        made = cls(learner, head, labels)
        learnt = [*learner.parameters, *head.parameters()]
        optimiser = torch.optim.AdamW(learnt, lr=p.rate, weight_decay=p.weight_decay)
        steps = p.epochs * math.ceil(len(rows) / p.batch)
        number = {label: n for n, label in enumerate(labels)}
        step = 0
        learner.model.train()
        for epoch in range(p.epochs):
            order = list(range(len(rows)))
            random.Random(f"{p.seed}/{epoch}").shuffle(order)  # noqa: S311 - an order of texts
            for start in range(0, len(order), p.batch):
                if stop is not None and stop():
                    return None
                part = [rows[i] for i in order[start : start + p.batch]]
                loss = functional.cross_entropy(
                    made._scores([t for t, _ in part]), torch.tensor([number[x] for _, x in part], device=learner.device)
                )
                if not torch.isfinite(loss):
                    raise TrainingFailed(f"the loss is not a number any more at step {step + 1}: lower `rate` (now {p.rate:g})")
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(learnt, p.clip or math.inf)
                for group in optimiser.param_groups:
                    group["lr"] = p.rate * min(1.0, (step + 1) / max(1, steps * p.warmup)) * max(0.02, 1 - step / steps)
                optimiser.step()
                optimiser.zero_grad()
                step += 1
                if on_step is not None:
                    on_step(step, steps, float(loss.detach()))
        return made

    def predict(self, texts: Sequence[str]) -> list[str]:
        """The best label of each text."""
        import torch

        self._learner.model.eval()
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        found = [""] * len(texts)
        with torch.no_grad():
            for start in range(0, len(order), 32):
                part = order[start : start + 32]
                for i, best in zip(part, self._scores([texts[i] for i in part]).argmax(1).tolist(), strict=True):
                    found[i] = self._labels[best]
        return found

    def save(self, folder: Path) -> None:
        """A PEFT folder with the linear layer and the labels beside it."""
        from safetensors.torch import save_file

        self._learner.save(folder)
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in self._head.state_dict().items()}, folder / "head.safetensors"
        )
        (folder / "labels.json").write_text(json.dumps(self._labels, ensure_ascii=False), encoding="utf-8")

    def _scores(self, texts: Sequence[str]) -> Any:
        states = self._learner.last_states([f"Message: {t}\nIntent:" for t in texts], tokens=TOKENS)
        return self._head(states.float())


def _rows(desk: Desk) -> tuple[Rows, Rows]:
    """Labelled texts of a file; for a tenant, the desk's own utterances by route with the tenant's FAQ questions among them."""
    run = desk.run
    if run.data.dataset:
        return fifth_apart(read_rows(run.path(run.data.dataset)))
    rows = [(line.text, line.route) for line in support_set()]
    tenant = tenant_of(run, desk.settings)
    if tenant is not None and tenant.folder is not None:
        rows += [(pair.question, "question") for pair in load_faq(tenant.folder)]
    return fifth_apart(rows)


def _shower(desk: Desk) -> Callable[[int, int, float], None]:
    begun = time.monotonic()
    curves = desk.folder / "curves.jsonl"
    curves.unlink(missing_ok=True)

    def show(step: int, steps: int, loss: float) -> None:
        desk.beat("training", step=step, steps=steps, loss=loss)
        row = {
            "kind": "step",
            "step": step,
            "steps": steps,
            "epoch": 1,
            "loss": loss,
            "rate": 0.0,
            "tokens": 0,
            "seconds": time.monotonic() - begun,
        }
        with curves.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    return show
