"""The parts of the documentation that code knows better: written between markers, compared by the tests. Never touches other text.

`python -m tests.docs.sections --write` (or `make docs`) writes them again. In a page:

    <!-- from the code: NAME -->
    ...
    <!-- end -->
"""

from __future__ import annotations

import ast
import dataclasses
import itertools
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import typer.main
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.routing import WebSocketRoute

import frontdesk.errors
from frontdesk import cli
from frontdesk.analytics import metrics as ledger
from frontdesk.analytics.criteria import MEANING
from frontdesk.analytics.score import WEIGHTS
from frontdesk.domain import events
from frontdesk.errors import FrontdeskError
from frontdesk.models import registry
from frontdesk.server.app import create_app
from frontdesk.server.metrics import Metrics
from frontdesk.server.office import Office
from frontdesk.settings import Settings

ROOT = Path(__file__).parents[2]
MARKED = re.compile(r"(<!-- from the code: ([\w-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)

# What a folder of data holds; every folder without Python below src/frontdesk stands here.
FOLDERS = {
    "console/static": "the console's style and its sign-in form",
    "desk/prompts": "what the desk says by itself, and what the model is told",
    "desk/reading_set": "invented companies with questions and the place of each answer: what the reader learns from",
    "desk/support_set": "general utterances by route, in every tenant's router beside its own questions",
    "rehearsal/presets": "casts, scenarios, prompts and sentences that ship with the program",
    "server/static": "the chat page and the widget, without dependencies",
    "tools/prompts": "how a model that proposes calls is told to write them",
    "tools/selection_set": "invented businesses with operations and messages: from what the encoder learns which operation is meant",
    "store/migrations": "the schema, one numbered file per step",
    "store/queries": "every statement that touches tenant data, by name",
}
FILES = {
    "py.typed": "tells type checkers that this package is typed",
    "analytics/assist.yaml": "ways to answer an objection, questions to go on with, advice on wording",
    "analytics/sentiment_head.npz": "the trained head that hears how an utterance sounds; says inside how it was made",
    "tools/selection_head.npz": "whether a message sounds like one about live data; remade by `python -m bench.tools_selection --write`",
    "analytics/sentiment_set.yaml": "utterances as support conversations have them, by how they sound",
    "analytics/words.yaml": "what customers and agents say in so many words: solved, a promise, an apology",
    "desk/reading_encoder.safetensors": "how customers put things: what the encoder learnt from the reading set and the selection set",
    "desk/reading_pairs.safetensors": "what the cross-encoder learnt that reads question and text together; made by `training.reading_pairs`",
    "desk/everyday.txt": "everyday English words that stand for one thing, a group a line",
    "desk/reading_model.json": "the trained reader's weights, as numbers",
    "knowledge/orders.txt": "words that orders to an assistant are made of",
    "knowledge/sentences.txt": "abbreviations that end no sentence",
    "training/general.yaml": "plain English of no company: what a trained model must not forget",
    "models/registry.yaml": "the models that can be fetched: sources, sizes, digests, licences",
}


def architecture() -> str:
    """One line per module, with the first sentence of its docstring."""
    package = ROOT / "src/frontdesk"
    lines = ["```text", "src/frontdesk/"]
    lines += list(_tree(package, package, "  "))
    lines += ["bench/"] + [f"  {p.name:22} {_first_sentence(p)}" for p in sorted((ROOT / "bench").glob("*.py"))]
    return "\n".join([*lines, "```"]) + "\n"


def _tree(folder: Path, package: Path, indent: str) -> Iterator[str]:
    inside = sorted(p for p in folder.iterdir() if p.name != "__pycache__")
    width = 24 - len(indent)
    for path in (p for p in inside if p.is_file() and p.name != "__init__.py"):
        said = _first_sentence(path) if path.suffix == ".py" else FILES[str(path.relative_to(package))]
        yield f"{indent}{path.name:{width}} {said}"
    for path in (p for p in inside if p.is_dir()):
        if any(path.rglob("*.py")):
            yield f"{indent}{path.name + '/':{width}} {_first_sentence(path / '__init__.py')}"
            yield from _tree(path, package, indent + "  ")
        else:
            yield f"{indent}{path.name + '/':{width}} {FOLDERS[str(path.relative_to(package))]}"


def _first_sentence(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return _opening(text)


def _opening(text: str) -> str:
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=[.!?])\s+(?=[A-Z0-9`])", paragraph)[0].rstrip(".")


def settings() -> str:
    """Every setting with its environment variable and default."""
    rows = [
        (f"`FRONTDESK_{f.name.upper()}`", f"`{_default(f)}`" if _default(f) else "", f.metadata["help"])
        for f in dataclasses.fields(Settings)
    ]
    return _table(("variable", "default", "what it is"), rows)


def _default(field: dataclasses.Field[Any]) -> str:
    if field.name == "cache":
        return "~/.cache/frontdesk"
    return str(field.default).lower() if isinstance(field.default, bool) else str(field.default)


def event_list() -> str:
    """Every event with its fields."""
    parts = []
    for name, cls in sorted(events.kinds().items(), key=lambda k: k[1].__name__):
        told = _field_docs(cls)
        rows = [(f"`{f.name}`", f"`{f.type}`", told.get(f.name, "")) for f in dataclasses.fields(cls)]
        said = " ".join((cls.__doc__ or "").split())
        parts.append(f"### {cls.__name__}\n\n`{name}`, version {cls.version}. {said}\n\n{_table(('field', 'type', ''), rows)}")
    return "\n".join(parts)


def _field_docs(cls: type) -> Mapping[str, str]:
    """The strings that stand below fields in the source."""
    tree = ast.parse(Path(sys.modules[cls.__module__].__file__ or "").read_text(encoding="utf-8"))
    body = next(n.body for n in tree.body if isinstance(n, ast.ClassDef) and n.name == cls.__name__)
    return {
        cast("ast.Name", field.target).id: " ".join(cast("str", cast("ast.Constant", note.value).value).split())
        for field, note in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(note, ast.Expr) and isinstance(note.value, ast.Constant)
    }


def commands() -> str:
    """Every command with its arguments and options."""
    return "\n".join(_commands(typer.main.get_command(cli.app), "frontdesk"))


def _commands(command: Any, path: str) -> Iterator[str]:
    if hasattr(command, "commands"):
        for name in sorted(command.commands):
            yield from _commands(command.commands[name], f"{path} {name}")
        return
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and "--help" not in p.opts]
    usage = " ".join([path, *(a.name.upper() if a.required else f"[{a.name.upper()}]" for a in arguments), *(["…"] if options else [])])
    yield f"### {path}\n\n`{usage}`\n\n{_opening(command.help or '')}.\n"
    rows = [(f"`{a.name.upper()}`", getattr(a, "help", None) or "") for a in arguments]
    rows += [(f"`{', '.join(reversed(o.opts))}`", _option_help(o)) for o in options]
    if rows:
        yield _table(("", ""), rows)


def _option_help(option: Any) -> str:
    text = re.sub(r"\s*\[FRONTDESK_\w+\]", lambda m: f" (`{m[0].strip()[1:-1]}`)", option.help or "")
    return f"{text}{' Required.' if option.required else ''}".strip()


def routes() -> str:
    """Every route of the server with who may call it."""
    rows = []
    for route in _routes():
        methods = "/".join(sorted(_methods(route) - {"HEAD"}))
        who = "any key" if isinstance(route, WebSocketRoute) else _who(route.dependant) if isinstance(route, APIRoute) else "anybody"
        rows.append((f"`{methods} {route.path}`", who, _opening(route.endpoint.__doc__ or "")))
    return _table(("route", "who", "what"), rows)


def _routes() -> list[Any]:
    office = SimpleNamespace(settings=Settings(), store=None, tenants={}, library=None, front_office=None)
    app = create_app(cast("Office", office))
    found = [r for r in _flat(app.routes) if r.path != "/openapi.json"]
    return sorted(found, key=lambda r: (r.path.split("/")[1], r.path, sorted(_methods(r))))


def _methods(route: Any) -> set[str]:
    return {"WEBSOCKET"} if isinstance(route, WebSocketRoute) else set(route.methods or ())


def _flat(found: Any) -> Iterator[Any]:
    for route in found:
        if hasattr(route, "endpoint"):
            yield route
        else:
            yield from _flat(getattr(route, "routes", None) or route.original_router.routes)


def _who(dependant: Dependant) -> str:
    named = {name for d in _dependencies(dependant) for name in [getattr(d.call, "__name__", "")]}
    if "operator" in named:
        return "operator key"
    if "signed_in" in named:
        return "any key, with a customer's token"
    return "any key" if "any_caller" in named else "anybody"


def _dependencies(dependant: Dependant) -> Iterator[Dependant]:
    for below in dependant.dependencies:
        yield below
        yield from _dependencies(below)


def errors() -> str:
    """Every error code with its status and exit code."""
    rows = [
        (f"`{e.code}`", str(e.status), str(e.exit_code), _opening(e.__doc__ or ""))
        for e in vars(frontdesk.errors).values()
        if isinstance(e, type) and issubclass(e, FrontdeskError) and e is not FrontdeskError
    ]
    return _table(("code", "HTTP status", "exit code", "what happened"), rows)


def metrics() -> str:
    """Every series that /metrics shows."""
    rows = []
    for family in cast("Any", Metrics()).__dict__.values():
        if hasattr(family, "_documentation"):
            name = family._name + ("_total" if family._type == "counter" else "")
            rows.append((f"`{name}`", family._type, ", ".join(f"`{n}`" for n in family._labelnames), family._documentation))
    return _table(("series", "kind", "labels", "what it counts"), rows)


def models() -> str:
    """Every model of the registry."""
    rows = [(f"`{e.name}`", e.kind, f"{e.bytes / 1e6:,.0f} MB", e.licence, e.about) for e in registry.entries()]
    return _table(("name", "kind", "size", "licence", "what for"), rows)


def figures() -> str:
    """Every figure of the ledger with what it is taken among."""
    return _table(
        ("figure", "name", "unit", "what is counted among what"), [(f.title, f"`{f.name}`", f.unit, f.told) for f in ledger.FIGURES]
    )


def outcomes() -> str:
    """How a conversation can end."""
    return _table(("outcome", "when"), [(f"`{o.value}`", told) for o, told in ledger.MEANING.items()])


def criteria() -> str:
    """What the default rubric judges."""
    return _table(("criterion", "weight", "what it asks"), [(f"`{n}`", f"{w:g}", MEANING[n]) for n, w in WEIGHTS.items()])


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(["| " + " | ".join(r) + " |" for r in [list(head), ["---"] * len(head), *cells]]) + "\n"


SECTIONS: Mapping[str, Callable[[], str]] = {
    "tree": architecture,
    "settings": settings,
    "events": event_list,
    "commands": commands,
    "routes": routes,
    "errors": errors,
    "metrics": metrics,
    "models": models,
    "figures": figures,
    "outcomes": outcomes,
    "criteria": criteria,
}


def pages() -> list[Path]:
    """Every page of the documentation."""
    return [ROOT / n for n in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "bench/RESULTS.md")] + sorted((ROOT / "docs").rglob("*.md"))


def renewed(text: str) -> str:
    """The page with its marked parts as the code would write them now."""
    return MARKED.sub(lambda m: f"{m[1]}\n{SECTIONS[m[2]]()}\n{m[4]}", text)


def main() -> int:
    """Writes the marked parts of every page again."""
    if sys.argv[1:] != ["--write"]:
        print(__doc__)
        return 2
    for page in pages():
        text = page.read_text(encoding="utf-8")
        fresh = renewed(text)
        if fresh != text:
            page.write_text(fresh, encoding="utf-8")
            print(page.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
