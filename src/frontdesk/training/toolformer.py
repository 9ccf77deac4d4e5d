"""Toolformer (Schick et al. 2023) for a tenant's tools, complete, each step with its file and its statistics.

    texts.jsonl -> annotate -> prompts.jsonl -> sample -> candidates.jsonl -> execute -> executed.jsonl -> filter -> kept.jsonl -> dataset.jsonl

1 annotate  an in-context prompt per tool, from the catalog; texts chosen that may be about the tool
2 sample    places where the model would begin a call with p > tau_s, at most k; at each up to m calls
3 execute   reads only, or dry runs; acts are never carried out; results written as replies write values
4 filter    a call stays when its result, put before the text, lowers the weighted loss of what follows by tau_f
5 dataset   the texts with their calls and results; results are not learnt

Steps 1, 3 and 5 need no model. Writes are refused in step 3 whatever a text says.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Protocol

from frontdesk.errors import BadInput
from frontdesk.tools.checking import check
from frontdesk.tools.inline import Call, head, render, tail
from frontdesk.tools.operation import Operation
from frontdesk.training.packing import Sample
from frontdesk.training.toolformer_filter import REACH, THRESHOLDS, Losses, weighted_loss
from frontdesk.training.toolformer_prompts import annotated, asked, from_catalog, prompt_for, read_head, relevance
from frontdesk.training.toolformer_texts import Text, dry_run, normalised, places

SYSTEM = "You answer customers. Look up live values with calls such as [name(argument=value) -> result]."


@dataclass(frozen=True, kw_only=True)
class Knobs:
    """The paper's parameters; its values are the defaults."""

    tau_s: float = 0.05
    tau_f: float = 1.0
    k: int = 5
    m: int = 5
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A call at a place of a text, as one step after the other adds to it."""

    text: str
    """Id of the text."""
    place: int
    """Character before which the call stands."""
    name: str
    arguments: Mapping[str, Any]
    source: str
    """Who proposed it: model, endpoint or catalog."""
    chance: float = 0.0
    """p_i, where a model was asked."""
    result: str = ""
    losses: Mapping[str, float] = field(default_factory=dict)

    @property
    def call(self) -> Call:
        """The call alone."""
        return Call(name=self.name, arguments=self.arguments)


class Looker(Protocol):
    """A model that can be looked at token by token (see `causal.Causal`)."""

    def chat(self, system: str, question: str) -> str: ...

    def log_probabilities(self, wanted: Sequence[Any]) -> list[list[float]]: ...

    def openings(self, prompt: str, text: str) -> list[tuple[int, float]]: ...

    def samples(self, context: str, *, count: int, tokens: int = 48, seed: int = 0) -> list[str]: ...


def annotate(texts: Sequence[Text], operations: Sequence[Operation], *, today: date, seed: int = 0) -> list[dict[str, str]]:
    """Step 1: which text is shown to which tool's prompt. Rows `{text, operation, prompt}`."""
    prompts = {o.name: prompt_for(o, today=today, seed=seed) for o in operations}
    return [{"text": t.id, "operation": o.name, "prompt": asked(prompts[o.name], t)} for t in texts for o in operations if relevance(o, t)]


def chosen_places(openings: Iterable[tuple[int, float]], *, tau_s: float, k: int) -> list[tuple[int, float]]:
    """The places with p > tau_s, the k likeliest of them, in the order of the text."""
    likely = sorted((o for o in openings if o[1] > tau_s), key=lambda o: -o[1])[:k]
    return sorted(likely)


def sample(
    rows: Sequence[Mapping[str, str]],
    texts: Mapping[str, Text],
    operations: Mapping[str, Operation],
    model: Looker,
    knobs: Knobs,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> tuple[list[Candidate], dict[str, float]]:
    """Step 2 with the model itself as annotator."""
    found: list[Candidate] = []
    counts: Counter[str] = Counter()
    for number, row in enumerate(rows):
        text = texts[row["text"]]
        operation = operations[row["operation"]]
        here = chosen_places(model.openings(row["prompt"], text.text), tau_s=knobs.tau_s, k=knobs.k)
        counts["places over tau_s"] += len(here)
        for place, chance in here:
            context = f"{row['prompt']} {text.text[:place]}[{operation.name}("
            for written in model.samples(context, count=knobs.m, seed=knobs.seed):
                counts["calls sampled"] += 1
                call = read_head(f"[{operation.name}({written}", [operation.name])
                if call is None:
                    continue
                counts["calls that parse"] += 1
                if check(operation, call.arguments).reasons:
                    continue
                counts["calls that fit"] += 1
                found.append(
                    Candidate(text=text.id, place=place, name=call.name, arguments=call.arguments, source="model", chance=round(chance, 4))
                )
        progress(number + 1, len(rows))
    return _distinct(found), {"texts shown": len(rows), **counts}


async def sample_from_endpoint(
    rows: Sequence[Mapping[str, str]], texts: Mapping[str, Text], operations: Mapping[str, Operation], ask: Callable[[str], Awaitable[str]]
) -> tuple[list[Candidate], dict[str, float]]:
    """Step 2 with any OpenAI-compatible endpoint as annotator; a version that changed the text is dropped."""
    found: list[Candidate] = []
    counts: Counter[str] = Counter()
    for row in rows:
        text, operation = texts[row["text"]], operations[row["operation"]]
        written = (await ask(row["prompt"])).strip().split("\n")[0]
        calls = annotated(text.text, written, [operation.name])
        counts["texts annotated"] += bool(calls)
        for place, call in calls:
            fits = not check(operation, call.arguments).reasons
            counts["calls that fit"] += fits
            if fits:
                found.append(Candidate(text=text.id, place=place, name=call.name, arguments=call.arguments, source="endpoint"))
    return _distinct(found), {"texts shown": len(rows), **counts}


def sample_from_catalog(
    texts: Sequence[Text], operations: Sequence[Operation], knobs: Knobs, *, today: date
) -> tuple[list[Candidate], dict[str, float]]:
    """Step 2 without a model: every operation whose arguments the customer's words give, at every place where a value could begin.

    Which operation is right is not known here: the filter has to find out.
    """
    found = []
    shown = 0
    for text in texts:
        here = list(places(text.text, most=knobs.k))
        for operation in operations:
            call = from_catalog(operation, text, today=today)
            if call is not None and not check(operation, call.arguments).reasons:
                shown += 1
                found += [Candidate(text=text.id, place=p, name=call.name, arguments=call.arguments, source="catalog") for p in here]
    return _distinct(found), {"texts shown": len(texts), "calls that fit": shown}


async def execute(
    candidates: Sequence[Candidate],
    operations: Mapping[str, Operation],
    *,
    today: date,
    read: Callable[[Operation, Mapping[str, Any]], Awaitable[Any]] | None = None,
) -> tuple[list[Candidate], dict[str, float]]:
    """Step 3: each distinct call once. `read` carries out a read operation (None or an error: no result); without it all are dry runs.

    An operation that acts is never carried out: its result is a dry run's.
    """
    results: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for one in candidates:
        key = head(one.call)
        if key in results:
            continue
        operation = operations[one.name]
        live = read is not None and not operation.writes
        data = await read(operation, one.arguments) if live and read is not None else dry_run(operation, one.arguments, today=today)
        results[key] = normalised(operation, one.arguments, data) if data is not None else ""
        counts["read" if live else "dry run"] += 1
        counts["without a result"] += not results[key]
    done = [Candidate(**{**asdict(c), "result": results[head(c.call)]}) for c in candidates if results[head(c.call)]]
    return done, {"candidates": len(candidates), "distinct calls": len(results), **counts, "left": len(done)}


def filtered(
    candidates: Sequence[Candidate],
    texts: Mapping[str, Text],
    model: Looker,
    knobs: Knobs,
    *,
    system: str = SYSTEM,
    batch: int = 48,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> tuple[list[Candidate], list[Candidate], dict[str, Any]]:
    """Step 4: (kept, all with their losses, statistics). The call stands before the whole text; only the five tokens behind count."""
    judged: list[Candidate] = []
    nothing: dict[tuple[str, int], float] = {}
    for start in range(0, len(candidates), batch):
        part = candidates[start : start + batch]
        wanted, owners = _wanted(part, texts, nothing, model, system)
        losses = [weighted_loss(row) for row in model.log_probabilities(wanted)]
        by_owner = dict(zip(owners, losses, strict=True))
        for key in owners:
            if key[0] == "nothing":
                nothing[key[1], key[2]] = by_owner[key]
        for n, one in enumerate(part):
            found = Losses(nothing=nothing[one.text, one.place], call=by_owner["call", n, 0], result=by_owner["result", n, 0])
            judged.append(Candidate(**{**asdict(one), "losses": {**asdict(found), "gain": found.gain}}))
        progress(min(start + batch, len(candidates)), len(candidates))
    return best_of(judged, knobs.tau_f), judged, filter_statistics(judged, texts, knobs)


def best_of(judged: Sequence[Candidate], tau_f: float) -> list[Candidate]:
    """The calls whose gain reaches tau_f; of several at one place the best."""
    best: dict[tuple[str, int], Candidate] = {}
    for one in judged:
        key = (one.text, one.place)
        if one.losses["gain"] >= tau_f and (key not in best or one.losses["gain"] > best[key].losses["gain"]):
            best[key] = one
    return list(best.values())


def filter_statistics(judged: Sequence[Candidate], texts: Mapping[str, Text], knobs: Knobs) -> dict[str, Any]:
    """What the filter did: counts at the paper's thresholds, by tool, gains, and how often it was right where the answer is known."""
    kept = best_of(judged, knobs.tau_f)
    known = [c for c in kept if texts[c.text].about]
    gains = [c.losses["gain"] for c in judged]
    return {
        "candidates": len(judged),
        **{f"kept at {t:g}": len(best_of(judged, t)) for t in sorted({*THRESHOLDS, knobs.tau_f})},
        "texts kept": len({c.text for c in kept}),
        "by tool": dict(Counter(c.name for c in kept)),
        "median gain": round(statistics.median(gains), 3) if gains else None,
        "right operation among kept": round(sum(c.name == texts[c.text].about for c in known) / len(known), 3) if known else None,
    }


def dataset(kept: Sequence[Candidate], texts: Mapping[str, Text], *, most: int = 1, plain: Sequence[Text] = ()) -> list[dict[str, Any]]:
    """Step 5: rows `{id, question, pieces, about}`; pieces are (text, learnt). At most `most` calls per text, the best first.

    Texts without a kept call are dropped, as in the paper; `plain` texts stand in for the rest of a language, without calls.
    """
    by_text: dict[str, list[Candidate]] = {}
    for one in kept:
        by_text.setdefault(one.text, []).append(one)
    rows = []
    for id, calls in by_text.items():
        chosen = sorted(sorted(calls, key=lambda c: -c.losses["gain"])[:most], key=lambda c: c.place)
        rows.append(
            {"id": id, "question": texts[id].question, "pieces": pieces(texts[id].text, chosen), "calls": [head(c.call) for c in chosen]}
        )
    rows += [{"id": t.id, "question": t.question, "pieces": [[t.text, True]], "calls": []} for t in plain]
    return rows


def pieces(text: str, calls: Sequence[Candidate]) -> list[list[Any]]:
    """x_1..i-1, call, result, x_i..n as (text, learnt): everything is learnt but results, which the platform puts in."""
    found: list[list[Any]] = []
    done = 0
    for one in calls:
        before = text[done : one.place]
        found += [[before + head(one.call), True], [tail(one.result), False]]
        done = one.place
    rest = text[done:]
    return [*found, [f" {rest}" if calls else rest, True]]


def to_sample(row: Mapping[str, Any], chat: Callable[[str, str], str], end: str, *, system: str = SYSTEM) -> Sample:
    """A row as the training loop takes it: the question as context, then the pieces."""
    parts = [(chat(system, row["question"]), False), *((str(t), bool(learnt)) for t, learnt in row["pieces"]), (f"{end}\n", True)]
    return Sample(pieces=tuple((t, learnt) for t, learnt in parts if t), group=row["id"])


@dataclass(frozen=True, kw_only=True)
class Written:
    """One reply that a trained model wrote without a grammar, judged."""

    text: str
    about: str
    valid: bool
    right: bool


def judged_reply(text: Text, reply: str, operations: Mapping[str, Operation]) -> Written:
    """Whether the reply calls at all, validly by the strict grammar and the schema, and the operation that the text is about."""
    call = read_head(reply, list(operations)) if reply.rstrip().endswith("->") else None
    valid = call is not None and not check(operations[call.name], call.arguments).reasons
    return Written(text=reply, about=text.about, valid=valid, right=valid and call is not None and call.name == text.about)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """JSON lines. Raises BadInput, naming the line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}): run the step before, or give another folder") from error
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except ValueError:
            raise BadInput(f"{path}:{number}: not a line of JSON: correct it, or run the step before again") from None
    return rows


def write_rows(path: Path, rows: Iterable[Any]) -> None:
    """JSON lines, all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        for row in rows:
            plain = row if isinstance(row, Mapping) else asdict(row)
            file.write(json.dumps(plain, ensure_ascii=False, default=str) + "\n")
    part.replace(path)


def _wanted(
    part: Sequence[Candidate], texts: Mapping[str, Text], known: Mapping[tuple[str, int], float], model: Looker, system: str
) -> tuple[list[Any], list[tuple[Any, ...]]]:
    from frontdesk.training.scored import Scored

    wanted: list[Any] = []
    owners: list[tuple[Any, ...]] = []
    fresh: set[tuple[str, int]] = set()
    for n, one in enumerate(part):
        text = texts[one.text]
        context = model.chat(system, text.question)
        # Space belongs to the word behind it, as in the tokenizer.
        left = text.text[: one.place].rstrip(" ")
        right = text.text[len(left) :]
        variants = {("call", n, 0): f"{render(one.call, '')} ", ("result", n, 0): f"{render(one.call, one.result)} "}
        if (one.text, one.place) not in known and (one.text, one.place) not in fresh:
            fresh.add((one.text, one.place))
            variants["nothing", one.text, one.place] = ""  # type: ignore[index]
        for owner, prefix in variants.items():
            wanted.append(Scored(context=context, prefix=prefix, left=left, text=right, tokens=REACH))
            owners.append(owner)
    return wanted, owners


def _distinct(candidates: Iterable[Candidate]) -> list[Candidate]:
    found: dict[tuple[str, int, str], Candidate] = {}
    for one in candidates:
        found.setdefault((one.text, one.place, head(one.call)), one)
    return list(found.values())
