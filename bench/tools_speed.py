"""What the tools room costs: parsing inline calls per 1,000 tokens, extraction per message, the tool path over the API's own time.

`python -m bench.tools_speed [--json]`. Bars: inline <= 1 ms per 1,000 tokens, tool path <= 10 ms p95 over the API's own time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable
from datetime import date

import httpx

from frontdesk.domain.tenancy import ToolSource
from frontdesk.tools.calling import ToolCaller
from frontdesk.tools.catalog import Catalog, read_document
from frontdesk.tools.inline import InlineReader, parse
from frontdesk.tools.operation import Operation
from frontdesk.tools.understanding import extract

_DOCUMENT = """
openapi: 3.1.0
paths:
  /accounts/{account}/balance:
    get:
      operationId: getBalance
      summary: Get the balance of an account
      parameters:
        - {name: account, in: path, required: true, schema: {type: string, enum: [current, savings]}}
        - {name: day, in: query, schema: {type: string, format: date}}
      responses:
        '200':
          content:
            application/json:
              schema: {type: object, properties: {balance: {type: number, x-currency: GBP}, as_of: {type: string, format: date}}}
"""
_SENTENCE = (
    'The balance of that account stands at [getBalance(account="savings", day="2027-03-18") -> £1,204.11] and will not change today. '
)
_PLAIN = "We are open from Monday to Friday and our colleagues will be glad to help you with anything else that you may need from us. "


def _milliseconds(run: Callable[[], object], rounds: int = 30) -> float:
    """Best of `rounds`: what the code costs, without what else the machine does."""
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best * 1000


def _pieces(text: str) -> list[str]:
    """About a token each: four characters."""
    return [text[i : i + 4] for i in range(0, len(text), 4)]


def _stream(pieces: list[str]) -> None:
    reader = InlineReader({"getBalance"})
    for piece in pieces:
        reader.feed(piece)
        if reader.waiting:
            reader.resume("£1,204.11")
    reader.close()


async def _tool_path(operation: Operation, rounds: int = 300) -> float:
    """p95 of a whole call, with an API that answers at once, in milliseconds."""

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"balance": 1204.11, "as_of": "2027-03-18"})

    times = []
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        caller = ToolCaller(Catalog(operations=(operation,)), http=http)
        for _ in range(rounds):
            start = time.perf_counter()
            await caller.call(operation, {"account": "savings"}, {})
            times.append(time.perf_counter() - start)
    return sorted(times)[int(len(times) * 0.95)] * 1000


def main() -> None:
    """Prints the figures."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", action="store_true")
    as_json = options.parse_args().json
    operation = read_document(_DOCUMENT, source=ToolSource(openapi="bench", server="https://x.invalid"))[0][0]
    mixed = (_SENTENCE + _PLAIN * 3) * 20
    mixed_tokens, plain = _pieces(mixed), _pieces(_PLAIN * 60)
    message = "Could you tell me what is on my savings account on the 18th of March, please?"
    figures = {
        "inline_parse_ms_per_1000_tokens": _milliseconds(lambda: parse(mixed)) / len(mixed_tokens) * 1000,
        "inline_stream_ms_per_1000_tokens": _milliseconds(lambda: _stream(mixed_tokens)) / len(mixed_tokens) * 1000,
        "inline_stream_plain_ms_per_1000_tokens": _milliseconds(lambda: _stream(plain)) / len(plain) * 1000,
        "extract_ms_per_message": _milliseconds(lambda: extract(operation, message, today=date(2027, 3, 17))),
        "tool_path_p95_ms": asyncio.run(_tool_path(operation)),
    }
    if as_json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:42} {value:8.3f}")


if __name__ == "__main__":
    main()
