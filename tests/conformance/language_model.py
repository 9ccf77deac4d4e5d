"""What every LanguageModel does. Subclasses provide the fixture `model`."""

import asyncio
from contextlib import aclosing

from frontdesk.models.protocols import ChatRequest, LanguageModel, complete


def asked(text: str, **options) -> ChatRequest:
    return ChatRequest(messages=[{"role": "user", "content": text}], **{"max_tokens": 24, **options})


class LanguageModelConformance:
    async def test_the_pieces_join_to_a_text(self, model: LanguageModel):
        pieces = [piece async for piece in model.stream(asked("Name three fruits."))]
        assert len(pieces) > 1
        assert "".join(pieces).strip()
        assert all(pieces), "a piece is never empty"

    async def test_the_same_request_has_the_same_answer(self, model: LanguageModel):
        first, second = [await complete(model, asked("Name three fruits.")) for _ in range(2)]
        assert first == second

    async def test_no_more_tokens_come_than_were_asked_for(self, model: LanguageModel):
        assert len([piece async for piece in model.stream(asked("Count to one hundred.", max_tokens=3))]) <= 3

    async def test_calls_at_the_same_time_each_get_their_whole_answer(self, model: LanguageModel):
        alone = await complete(model, asked("Name three fruits."))
        together = await asyncio.gather(*(complete(model, asked("Name three fruits.")) for _ in range(3)))
        assert len(together) == 3
        assert all(text.split()[0] == alone.split()[0] for text in together)

    async def test_an_answer_that_is_closed_early_leaves_the_model_usable(self, model: LanguageModel):
        for _ in range(6):  # more than there are slots
            async with aclosing(model.stream(asked("Count to one hundred.", max_tokens=200))) as pieces:
                async for _piece in pieces:
                    break
        assert await complete(model, asked("Name three fruits."))

    async def test_a_cancelled_answer_leaves_the_model_usable(self, model: LanguageModel):
        tasks = [asyncio.create_task(complete(model, asked("Count to one hundred.", max_tokens=400))) for _ in range(6)]
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert await complete(model, asked("Name three fruits."))

    async def test_it_has_a_name(self, model: LanguageModel):
        assert model.name
