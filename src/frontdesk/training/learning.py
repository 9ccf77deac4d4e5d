"""Examples as the model's own chat template writes them: samples to learn from, prompts to answer, and anchors against forgetting.

Training and serving must put the same text before the model; both therefore take it from the template that came with the base.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from frontdesk.errors import BadInput
from frontdesk.training.data import Example, general
from frontdesk.training.packing import Sample

Messages = Sequence[Mapping[str, str]]


class Template:
    """A base model's chat template."""

    def __init__(self, base: Path) -> None:
        """Raises BadInput for a base model without one."""
        from transformers import AutoTokenizer

        self.tokenizer: Any = AutoTokenizer.from_pretrained(base)
        if not self.tokenizer.chat_template:
            raise BadInput(f"{base} has no chat template: choose an instruction-tuned model")

    @property
    def sha256(self) -> str:
        """Digest of the template, in hex."""
        return hashlib.sha256(str(self.tokenizer.chat_template).encode()).hexdigest()

    def prompt(self, messages: Messages) -> str:
        """The text after which the model answers."""
        return str(self.tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True))

    def sample(self, example: Example) -> Sample:
        """Every message of the assistant is learnt, the rest is context. Raises BadInput when the template rewrites earlier messages."""
        messages = list(example.messages)
        pieces: list[tuple[str, bool]] = []
        done = ""
        for place, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            before = self.prompt(messages[:place])
            after = str(self.tokenizer.apply_chat_template(messages[: place + 1], tokenize=False))
            if not before.startswith(done) or not after.startswith(before):
                raise BadInput(
                    "this model's chat template rewrites what came before: train on conversations of one question and one answer"
                )
            pieces += [(before[len(done) :], False), (after[len(before) :], True)]
            done = after
        return Sample(pieces=tuple(pieces), group=example.group)

    def samples(self, examples: Sequence[Example]) -> list[Sample]:
        """One sample per example."""
        return [self.sample(e) for e in examples]


def anchors(base: Path, count: int, *, dtype: str, device: str = "auto", cache: Path | None = None) -> list[Sample]:
    """So many general texts at most of which the model is to think what it thought: passages, and questions with the base model's answers.

    The answers are kept beside the base, since they never change.
    """
    from frontdesk.training.learner import Learner

    known = general()
    passages = [Sample(pieces=((text, True),), group=f"anchor:passage:{n}", anchor=True) for n, text in enumerate(known.passages[:count])]
    questions = known.questions[: count - len(passages)]
    if not questions:
        return passages
    key = hashlib.sha256(json.dumps(known.questions).encode()).hexdigest()[:16]
    kept = (cache or base) / f"replay-{key}.json"
    template = Template(base)
    prompts = [template.prompt(({"role": "user", "content": q},)) for q in known.questions]
    if kept.is_file():
        answers = json.loads(kept.read_text(encoding="utf-8"))
    else:
        learner = Learner(base, method="none", rank=1, alpha=1, dropout=0.0, dtype=dtype, device=device, seed=0)
        answers = learner.reply(prompts, tokens=80)
        part = kept.with_suffix(".part")
        part.write_text(json.dumps(answers, ensure_ascii=False), encoding="utf-8")
        part.rename(kept)
    return passages + [
        Sample(pieces=((prompts[n], False), (answers[n], True)), group=f"anchor:{n}", anchor=True)
        for n in range(len(questions))
        if answers[n]
    ]
