"""Examples from elsewhere: a tenant's own resolved conversations, files, and data sets of the Hugging Face hub. Masks personal data.

What comes out of the log carries its conversation's id as `origin`, so that erasing the conversation can take it out of a data set again
(`shards.forget`). A conversation that was not resolved teaches the wrong thing and is left out.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from frontdesk.domain.conversation import Conversation, Owner, Route, Speaker, Utterance
from frontdesk.domain.privacy import mask_personal_data
from frontdesk.domain.tenancy import Tenant
from frontdesk.errors import BadInput, Unavailable
from frontdesk.training.data import Example

HISTORY = 6
"""Utterances before the reply that is learnt."""
_ASKS_SUMMARY = "Summarise this conversation for a colleague who takes over, in one or two sentences."
_CUSTOMERS = frozenset("customer client user caller human buyer".split())  # noqa: SIM905 - reads better than nine quotes
_STAFF = frozenset("agent assistant desk representative operator bot support seller gpt".split())  # noqa: SIM905


def resolved(conversation: Conversation) -> bool:
    """Whether the customer was helped: answered last by us, not failing, not refused, and nobody is still being waited for."""
    said = conversation.utterances
    if len(said) < 2 or said[-1].speaker is Speaker.CUSTOMER or conversation.owner in (Owner.QUEUE, Owner.AGENT) or conversation.failures:
        return False
    return any(u.speaker is Speaker.AGENT for u in said) or not any(u.route in (Route.REFUSE, Route.HANDOFF) for u in said)


def from_conversation(conversation: Conversation, tenant: Tenant, *, summary: str = "") -> list[Example]:
    """One example per reply of ours, with the sources it stood on; one more when a human wrote a summary. Personal data is masked.

    Empty for a conversation that was not resolved.
    """
    if not resolved(conversation):
        return []
    found = []
    said = conversation.utterances
    for place, utterance in enumerate(said):
        if utterance.speaker is Speaker.CUSTOMER or utterance.route is Route.SMALLTALK or not place:
            continue
        history = [m for u in said[max(0, place - HISTORY) : place] if (m := _message(u))]
        if not history or history[-1]["role"] != "user":
            continue
        system = {"role": "system", "content": grounded_prompt(tenant, [c.quote for c in utterance.citations])}
        found.append(Example(messages=(system, *_joined(history), _message(utterance)), origin=f"conversation:{conversation.id}"))
    if summary:
        told = "\n".join(f"{u.speaker.value}: {mask_personal_data(u.text)}" for u in said)
        messages = ({"role": "system", "content": _ASKS_SUMMARY}, {"role": "user", "content": told})
        last = {"role": "assistant", "content": mask_personal_data(summary)}
        found.append(Example(messages=(*messages, last), origin=f"conversation:{conversation.id}"))
    return found


def grounded_prompt(tenant: Tenant, sources: Sequence[str]) -> str:
    """The system prompt of a reply that stands on sources: who speaks, how, and from what."""
    lines = [f"You are a helpful chatbot for customers of {tenant.name}.", " ".join(tenant.persona.split())]
    if sources:
        lines += ["Answer from these sources only:", *(f"- {mask_personal_data(' '.join(s.split()))}" for s in sources)]
    else:
        lines.append("If something is missing, ask one short question.")
    return "\n".join(line for line in lines if line)


def from_dataset(name: str, mapping: Mapping[str, str], *, split: str = "train", limit: int = 0, system: str = "") -> list[Example]:
    """Examples of a local .jsonl, .csv or .parquet file, a folder of them, or a data set of the Hugging Face hub.

    `mapping` says which column is what: `question` and `answer`; or `messages` (a list of role and content); or `conversation`, `speaker`
    and `text` for one utterance per row, rows of a conversation in order. Raises BadInput for wrong columns, Unavailable without network.
    """
    kinds = ({"question", "answer"}, {"messages"}, {"conversation", "speaker", "text"})
    if set(mapping) not in kinds:
        raise BadInput(
            f"the field mapping names {', '.join(sorted(mapping)) or 'nothing'}: name question and answer, messages, or conversation, speaker and text"
        )
    rows = _checked(_rows(name, split), mapping, name)
    origin = f"dataset:{name}"
    if "conversation" in mapping:
        return list(_limited(_dialogues(rows, mapping, origin, system), limit))
    if "messages" in mapping:
        return list(_limited((_listed(row[mapping["messages"]], origin, name) for row in rows), limit))
    before = ({"role": "system", "content": system},) if system else ()
    pairs = ((str(row[mapping["question"]]), str(row[mapping["answer"]])) for row in rows)
    found = (
        Example(messages=(*before, {"role": "user", "content": q}, {"role": "assistant", "content": a}), origin=origin)
        for q, a in pairs
        if q.strip() and a.strip()
    )
    return list(_limited(found, limit))


def _rows(name: str, split: str) -> Iterator[Mapping[str, Any]]:
    path = Path(name)
    if path.is_dir() or path.suffix in (".jsonl", ".csv", ".parquet"):
        files = sorted(p for p in path.iterdir() if p.suffix in (".jsonl", ".csv", ".parquet")) if path.is_dir() else [path]
        if not files:
            raise BadInput(f"{path} holds no .jsonl, .csv or .parquet file: give a folder that does")
        for file in files:
            yield from _file(file)
        return
    try:
        from datasets import load_dataset
    except ImportError:
        raise BadInput(
            f"{name} is no file here, and data sets of the hub need `pip install 'frontdesk[train]'`: give a file, or install it"
        ) from None
    try:
        yield from load_dataset(name, split=split, streaming=True)
    except (OSError, ValueError, RuntimeError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Unavailable(
            f"the data set {name} cannot be loaded ({first}): check its name and the network, or give a local file"
        ) from error


def _file(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        if path.suffix == ".jsonl":
            with path.open(encoding="utf-8") as file:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        yield _object(line, f"{path}:{number}")
        elif path.suffix == ".csv":
            with path.open(encoding="utf-8", newline="") as file:
                yield from csv.DictReader(file)
        else:
            from pyarrow import parquet  # type: ignore[import-not-found]

            for batch in parquet.ParquetFile(path).iter_batches():
                yield from batch.to_pylist()
    except ImportError:
        raise BadInput(f"{path} needs pyarrow: install `frontdesk[train]`, or save it as .jsonl") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path} cannot be read ({error}): give a UTF-8 file") from None


def _object(line: str, place: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        raise BadInput(f"{place}: is no JSON object; write one per line")
    return row


def _checked(rows: Iterable[Mapping[str, Any]], mapping: Mapping[str, str], name: str) -> Iterator[Mapping[str, Any]]:
    for row in rows:
        if lacking := [column for column in mapping.values() if column not in row]:
            raise BadInput(f"{name} has no column {', '.join(lacking)}: it has {', '.join(map(str, row))}; correct the field mapping")
        yield row


def _dialogues(rows: Iterable[Mapping[str, Any]], mapping: Mapping[str, str], origin: str, system: str) -> Iterator[Example]:
    current, said = None, list[dict[str, str]]()
    for row in rows:
        if (id_ := row[mapping["conversation"]]) != current:
            yield from _replies(said, origin, system)
            current, said = id_, []
        role = _role(str(row[mapping["speaker"]]))
        said.append({"role": role, "content": mask_personal_data(" ".join(str(row[mapping["text"]]).split()))})
    yield from _replies(said, origin, system)


def _replies(said: Sequence[dict[str, str]], origin: str, system: str) -> Iterator[Example]:
    """The conversation up to its last reply, as one example; every reply in it is learnt (see learning.samples)."""
    turns = _joined(said)
    while turns and turns[0]["role"] != "user":
        turns.pop(0)
    while turns and turns[-1]["role"] != "assistant":
        turns.pop()
    if turns:
        before = [{"role": "system", "content": system}] if system else []
        yield Example(messages=(*before, *turns), origin=origin)


def _role(speaker: str) -> str:
    words = set(speaker.lower().replace("_", " ").split())
    if words & _CUSTOMERS:
        return "user"
    if words & _STAFF:
        return "assistant"
    raise BadInput(f"{speaker!r} is neither a customer nor an agent: rename the speakers, e.g. to `customer` and `agent`")


def _listed(value: Any, origin: str, name: str) -> Example:
    from frontdesk.training.data import from_json

    if not isinstance(value, list):
        raise BadInput(f"{name}: the column for `messages` holds no list: each row needs a list of role and content")
    example = from_json({"messages": value, "origin": origin})
    messages = tuple({"role": m["role"], "content": mask_personal_data(m["content"])} for m in example.messages)
    return Example(messages=messages, origin=origin)


def _message(utterance: Utterance) -> dict[str, str]:
    role = "user" if utterance.speaker is Speaker.CUSTOMER else "assistant"
    return {"role": role, "content": mask_personal_data(utterance.text)}


def _joined(messages: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Messages of one role in a row become one."""
    found: list[dict[str, str]] = []
    for message in messages:
        if found and found[-1]["role"] == message["role"]:
            found[-1]["content"] += " " + message["content"]
        else:
            found.append(dict(message))
    return found


def _limited(examples: Iterable[Example], limit: int) -> Iterator[Example]:
    for number, example in enumerate(examples):
        if limit and number >= limit:
            return
        yield example
