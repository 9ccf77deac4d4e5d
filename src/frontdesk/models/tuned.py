"""Tuned models: which adapter answers for which tenant. The only place that puts an adapter into a request.

A tenant's adapter knows that tenant's facts by heart, and no system prompt keeps them in; so the binding is this table, and the way to it
is the tenant of a verified caller. Nothing that a customer or a client sends can name an adapter.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass

from frontdesk.domain.tenancy import TenantId
from frontdesk.models.protocols import ChatRequest, LanguageModel


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """One adapter in service, with the words it was trained to be asked in."""

    tenant: TenantId
    adapter: str
    """Id of the adapter in the model server."""
    label: str
    """Name and version, for events: `faq@3`."""
    prefix: str = ""
    system: str = ""
    share: float = 1.0
    """Share of conversations that it answers; below 1 for a canary."""


class TunedModels:
    """The adapters in service. A tenant has one, and perhaps a canary beside it."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._table: Mapping[TenantId, tuple[Tuned, ...]] = {}

    def serve(self, adapters: Iterable[Tuned]) -> None:
        """Replace the whole table. Conversations ask it anew with each turn."""
        table: dict[TenantId, tuple[Tuned, ...]] = {}
        for one in adapters:
            table[one.tenant] = (*table.get(one.tenant, ()), one)
        self._table = {tenant: tuple(sorted(rows, key=lambda t: t.share)) for tenant, rows in table.items()}

    def of(self, tenant: TenantId, conversation: str) -> TenantModel | None:
        """The tuned model of a tenant for one conversation; None where it has none. A conversation keeps its version."""
        place = drawn(conversation)
        for one in self._table.get(tenant, ()):
            if place < one.share:
                return TenantModel(self._model, one)
        return None


class TenantModel:
    """A tenant's tuned model. Asked as it was trained: system prompt and prefix are put on here."""

    def __init__(self, model: LanguageModel, tuned: Tuned) -> None:
        self._model = model
        self._tuned = tuned
        self.name = f"{model.name}+{tuned.label}"

    def stream(self, question: str, *, max_tokens: int = 96) -> AsyncIterator[str]:
        """The answer to a customer's question in pieces. Raises like `LanguageModel.stream`."""
        return self._model.stream(self.request(question, max_tokens=max_tokens))

    def request(self, question: str, *, max_tokens: int = 96) -> ChatRequest:
        """The question as the adapter was trained on it."""
        asked = " ".join(question.split())
        messages = [{"role": "system", "content": self._tuned.system}] if self._tuned.system else []
        return ChatRequest(
            messages=[*messages, {"role": "user", "content": prefixed(self._tuned.prefix, asked)}],
            max_tokens=max_tokens,
            adapter=self._tuned.adapter,
        )

    def bare(self, answer: str) -> str:
        """The answer without the prefix that the model was trained to begin with."""
        text, prefix = answer.strip(), self._tuned.prefix.strip()
        if prefix and text.lower().startswith(prefix.lower()):
            text = text[len(prefix) :].lstrip(" ,:")
            text = text[:1].upper() + text[1:]
        return text


def prefixed(prefix: str, text: str) -> str:
    """`In [COMPANY], ` before a text, which stays as it is: the data builder of the training room writes it in the same way."""
    return f"{prefix.rstrip()} {text}" if prefix.strip() else text


def drawn(conversation: str) -> float:
    """A number in [0, 1) that a conversation always gets."""
    return int.from_bytes(hashlib.sha256(conversation.encode()).digest()[:7]) / 2**56
