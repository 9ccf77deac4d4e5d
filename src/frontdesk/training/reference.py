"""What transformers and PEFT make of an adapter: the measure that an export is held against. Needs torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from frontdesk.training.artefacts import Greedy


def greedy(
    base: Path, adapter: Path, chats: Sequence[Sequence[Mapping[str, str]]], *, tokens: int, threads: int = 1
) -> tuple[list[Greedy], list[Greedy]]:
    """The greedy replies to chats, by the base with its adapter and by the base alone. `base` and `adapter`: folders."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(threads)  # more than there are free cores makes each token a hundred times slower
    tokenizer = AutoTokenizer.from_pretrained(base)
    model: Any = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), adapter).eval()

    def replies() -> list[Greedy]:
        found = []
        for chat in chats:
            prompt = tokenizer(
                tokenizer.apply_chat_template(list(chat), tokenize=False, add_generation_prompt=True), add_special_tokens=False
            )
            ids = torch.tensor([prompt["input_ids"]])
            with torch.inference_mode():
                out = model.generate(
                    ids,
                    attention_mask=torch.ones_like(ids),
                    max_new_tokens=tokens,
                    do_sample=False,
                    num_beams=1,
                    repetition_penalty=1.0,
                    pad_token_id=tokenizer.eos_token_id,
                )
            written = tuple(int(t) for t in out[0, ids.shape[1] :])
            found.append(Greedy(prompt=tuple(int(t) for t in ids[0]), reply=written, ends=int(tokenizer.eos_token_id)))
        return found

    with model.disable_adapter():
        untrained = replies()
    return replies(), untrained
