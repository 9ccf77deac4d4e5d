"""The in-context prompts that teach a model to annotate, one per tool, made from the catalog; and the reading of what annotators wrote.

A prompt tells what the tool does and shows a few texts without and with a call. What comes back counts only where the text itself is
unchanged: an annotator that rewrites the text has annotated another one.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from datetime import date

from frontdesk.tools.inline import Call, head, parse, render
from frontdesk.tools.operation import Operation
from frontdesk.tools.understanding import extract
from frontdesk.training.toolformer_texts import Text, dry_run, normalised, texts_from_catalog, told

DEMONSTRATIONS = 4
_CALL = re.compile(r"\[[A-Za-z_][\w.\-]*\((?:[^\[\]\"]|\"(?:[^\"\\]|\\.)*\"|\[[^\[\]]*\])*\)(?: ->)?(?: [^\[\]]*)?\] ?")


def prompt_for(operation: Operation, *, today: date, seed: int = 0, shots: int = DEMONSTRATIONS) -> str:
    """The prompt P of one tool; ends where the text x is to stand, after `Text: `."""
    rng = random.Random(f"{seed} {operation.name}")  # noqa: S311 - a draw of examples
    takes = "; ".join(f"{a.name}: {a.description or a.label}" for a in operation.askable)
    lines = [
        f"Your task is to add calls of the tool {operation.name} to a text. The tool does this: {operation.summary}. {operation.description}",
        f"Write a call as {head(Call(name=operation.name, arguments={a.name: '...' for a in operation.required}))} and keep the text unchanged.",
        *([f"It takes {takes}"] if takes else []),
        "",
    ]
    for text in texts_from_catalog([operation], count=shots, seed=rng.randrange(10_000), today=today):
        answer = dry_run(operation, text.arguments, today=today)
        said = told(operation, text.arguments, answer)
        sentence = f"The {said[0].label.lower() or 'answer'} is {said[0].text}."
        place = sentence.index(said[0].text) if said[0].text in sentence else 0
        call = render(Call(name=operation.name, arguments=text.arguments), normalised(operation, text.arguments, answer))
        lines += [f"Question: {text.question}", f"Text: {sentence}", f"With calls: {sentence[:place]}{call} {sentence[place:]}", ""]
    return "\n".join(lines)


def asked(prompt: str, text: Text) -> str:
    """The prompt with one text, up to where the annotated text begins."""
    return f"{prompt}Question: {text.question}\nText: {text.text}\nWith calls:"


def relevance(operation: Operation, text: Text) -> bool:
    """Whether a text may be about an operation at all (the paper's heuristic pre-selection): it shares a word, or holds its values."""
    words = set(re.findall(r"[a-z]{4,}", f"{operation.summary} {operation.name}".lower()))
    fields = set(re.findall(r"[a-z]{4,}", " ".join(operation.response.get("properties", {})).lower()))
    said = set(re.findall(r"[a-z]{4,}", f"{text.question} {text.text}".lower()))
    return bool((words | fields) & said)


def from_catalog(operation: Operation, text: Text, *, today: date) -> Call | None:
    """The call of this operation that the customer's own words allow, or None while a required argument is not said."""
    found = extract(operation, text.question, today=today)
    arguments = {name: value.value for name, value in found.items()}
    if any(a.name not in arguments for a in operation.required):
        return None
    return Call(name=operation.name, arguments=arguments)


def annotated(text: str, written: str, names: Sequence[str]) -> list[tuple[int, Call]]:
    """The calls in an annotator's version of a text with their places in the text; none when it changed the text."""
    bare = _CALL.sub("", written).split()
    if bare != text.split():
        return []
    found: list[tuple[int, Call]] = []
    words = 0
    for piece in re.split(f"({_CALL.pattern})", written):
        if _CALL.fullmatch(piece):
            call = read_head(piece, names)
            if call is not None:
                found.append((_start_of_word(text, words), call))
        else:
            words += len(piece.split())
    return found


def read_head(written: str, names: Sequence[str]) -> Call | None:
    """The first call in a text, by the strict grammar; its result, if one was invented, is dropped."""
    start = written.find("[")
    if start < 0:
        return None
    head_ = re.match(r"\[[A-Za-z_][\w.\-]*\(.*?\)(?= ->|\]| |$)", written[start:], re.DOTALL)
    if head_ is None:
        return None
    pieces = parse(f"{head_[0]} -> ]")
    call = next((p.call for p in pieces if not isinstance(p, str)), None)
    return call if call is not None and call.name in names else None


def _start_of_word(text: str, number: int) -> int:
    starts = [m.start() for m in re.finditer(r"\S+", text)]
    return starts[number] if number < len(starts) else len(text)
