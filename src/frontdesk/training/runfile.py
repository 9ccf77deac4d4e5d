"""The file that describes a run: read strictly, every problem with file and line. Refuses unknown keys, wrong types and a recipe without data.

    name: retail-faq
    tenant: meridian-retail
    recipe: faq
    model: smollm2-135m-instruct
    compute: {gpus: 8, gpu_type: H100, nodes: 1}
    parameters: {epochs: 8, rate: 0.001}

Two or three lines of `compute` name the hardware; without them the run uses this machine.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from frontdesk.errors import BadInput
from frontdesk.training.finetune import Parameters, check

RECIPES = {
    "faq": "instruction",
    "dialogue": "chat",
    "toolformer": "chat",
    "intent": "classification",
    "embedding": "embedding",
}
"""Recipe -> task."""
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,50}")


@dataclass(frozen=True, kw_only=True)
class Compute:
    """Where the run happens."""

    gpus: int = 0
    """Per node; 0: whatever this machine has."""
    gpu_type: str = ""
    nodes: int = 1
    launcher: str = "torchrun"
    """`torchrun` or `accelerate`, from the second GPU on."""
    image: str = ""
    """Container image with `frontdesk[train]`; empty: this Python."""
    cpus: int = 0
    memory_gb: int = 0


@dataclass(frozen=True, kw_only=True)
class Data:
    """What is learnt from. Paths are relative to the run file."""

    faq: str = ""
    """Folder of a tenant; empty: the one of `tenant` in the tenants folder (faq recipes)."""
    wordings: int = 8
    """Other wordings per question, by rule."""
    by_hand: str = ""
    """File of other wordings that are learnt."""
    unseen: str = ""
    """File of wordings that are only tested."""
    by_model: int = 0
    """Wordings per question that the configured model writes (FRONTDESK_LLM_URL)."""
    prefix: str = "In {company}, "
    prefix_answers: bool = True
    system: str = "You are a helpful chatbot for customers of {company}."
    log: bool = False
    """Also learn from the tenant's resolved conversations (dialogue)."""
    dataset: str = ""
    """File, folder or data set of the hub, read by `fields`; for intent and embedding JSON lines with text and label."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """What -> column: question and answer; or messages; or conversation, speaker and text; or text and label."""
    split: str = "train"
    limit: int = 0
    shards: str = ""
    """Folder or URL of shards that hold examples."""
    unlabelled: str = ""
    """Embedding: messages without a label, JSON lines with text, beside `dataset`."""
    replay: float = 0.0
    """Share of general questions with the base model's own answers, against forgetting."""


@dataclass(frozen=True, kw_only=True)
class Gates:
    """What a run must reach to be shipped."""

    recall: float = 0.85
    perplexity_ratio: float = 1.25
    leak: float = 0.0
    """Recall under another company's prompt. Above it the adapter must be bound to its tenant, which deployment does."""
    gap: float = 0.10
    """Recall on learnt wordings less recall on unseen ones."""
    accuracy: float = 0.0
    """Intent: share right; 0: better than the untrained model."""


@dataclass(frozen=True, kw_only=True)
class RunFile:
    """One run."""

    name: str
    recipe: str
    model: str = "smollm2-135m-instruct"
    tenant: str = ""
    """Whose adapter it becomes; empty: a general one."""
    task: str = ""
    data: Data = field(default_factory=Data)
    compute: Compute = field(default_factory=Compute)
    eval_prompts: tuple[str, ...] = ()
    """Asked after every epoch; the replies are kept with the curves."""
    gates: Gates = field(default_factory=Gates)
    parameters: Parameters = field(default_factory=Parameters)
    folder: str = ""
    """Folder of the run file, to which its paths are relative; filled in when it is read."""

    def path(self, given: str) -> Path:
        """A path of the file, made absolute."""
        return Path(self.folder or ".") / given

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return dataclasses.asdict(self)


def read(path: Path, overrides: Sequence[str] = ()) -> RunFile:
    """The run that a YAML file describes, with `a.b=value` overrides on top. Raises BadInput listing every problem with its line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read ({getattr(error, 'strerror', None) or error}): give the path of a run file") from None
    return parse(text, str(path), overrides, folder=str(path.resolve().parent))


def parse(text: str, place: str, overrides: Sequence[str] = (), *, folder: str = "") -> RunFile:
    """`read` for text; `place` stands in messages."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise BadInput(f"{place}:{line}: is no valid YAML ({getattr(error, 'problem', error)}); mend this line") from None
    problems: list[str] = []
    values, lines = _plain(node, place, problems)
    for override in overrides:
        _override(values, lines, override, problems)
    if not isinstance(values, dict):
        raise BadInput(f"{place}:1: holds no run; write `name`, `recipe`, `model` and what else is needed as `key: value` lines")
    run: RunFile | None = _build(RunFile, values, _Blame(place, lines, problems), ())
    if run is not None and not problems:
        _consistent(run, _Blame(place, lines, problems))
    if problems or run is None:
        raise BadInput("\n".join(problems))
    task = run.task or RECIPES[run.recipe]
    return dataclasses.replace(run, task=task, folder=folder)


def from_json(values: Mapping[str, Any]) -> RunFile:
    """What `to_json` wrote."""
    problems: list[str] = []
    run: RunFile | None = _build(RunFile, dict(values), _Blame("run", {}, problems), ())
    if run is None or problems:
        raise BadInput("\n".join(problems) or "the stored run cannot be read")
    return run


@dataclass(frozen=True)
class _Blame:
    place: str
    lines: Mapping[tuple[str, ...], int | str]
    problems: list[str]

    def __call__(self, path: tuple[str, ...], what: str) -> None:
        where: int | str | None = None
        for length in range(len(path), -1, -1):
            if (where := self.lines.get(path[:length])) is not None:
                break
        self.problems.append(f"{where}: {what}" if isinstance(where, str) else f"{self.place}:{where or 1}: {what}")


def _consistent(run: RunFile, blame: _Blame) -> None:
    if not _NAME.fullmatch(run.name):
        blame(("name",), f"the name {run.name!r} must be lower-case letters, digits and hyphens, 51 at most")
    if run.recipe not in RECIPES:
        blame(("recipe",), f"there is no recipe {run.recipe!r}; write one of {', '.join(RECIPES)}")
        return
    if run.task and run.task != RECIPES[run.recipe]:
        blame(("task",), f"the recipe {run.recipe} is for the task {RECIPES[run.recipe]}, not {run.task!r}; leave `task` out")
    data = run.data
    if run.recipe == "faq" and not (run.tenant or data.faq or data.shards):
        blame(("data",), "the recipe faq needs `tenant`, or `data: {faq: FOLDER}`")
    if run.recipe == "dialogue" and not (data.log or data.dataset or data.shards):
        blame(("data",), "the recipe dialogue needs `data` with log, dataset or shards")
    if data.log and not run.tenant:
        blame(("data", "log"), "learning from conversations needs `tenant`")
    if run.recipe in ("intent", "embedding") and not (data.dataset or run.tenant):
        blame(("data",), f"the recipe {run.recipe} needs `data: {{dataset: FILE}}` with text and label, or `tenant`")
    if not 0 <= data.replay <= 1:
        blame(("data", "replay"), "`replay` is a share: from 0 to 1")
    if run.compute.launcher not in ("torchrun", "accelerate"):
        blame(("compute", "launcher"), "`launcher` must be torchrun or accelerate")
    if run.compute.gpus < 0 or run.compute.nodes < 1:
        blame(("compute",), "`gpus` must be 0 or more and `nodes` 1 or more")
    try:
        check(run.parameters)
    except BadInput as error:
        blame(("parameters",), str(error))


def _build(kind: Any, values: Any, blame: _Blame, path: tuple[str, ...]) -> Any:
    """An instance of a dataclass from plain values, or None after blaming."""
    if not isinstance(values, dict):
        blame(path, f"`{'.'.join(path)}` must hold `key: value` pairs")
        return None
    fields = {f.name: f for f in dataclasses.fields(kind)}
    hints = get_type_hints(kind)
    found: dict[str, Any] = {}
    before = len(blame.problems)
    for key, value in values.items():
        here = (*path, str(key))
        if key not in fields or (key == "folder" and blame.lines):
            near = difflib.get_close_matches(str(key), fields, n=1)
            blame(
                here,
                f"there is no key `{'.'.join(here)}`" + (f"; did you mean `{near[0]}`?" if near else f"; known are {', '.join(fields)}"),
            )
        elif dataclasses.is_dataclass(hints[key]):
            found[str(key)] = _build(hints[key], {} if value is None else value, blame, here)
        else:
            found[str(key)] = _cast(hints[key], value, blame, here)
    for name, f in fields.items():
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING and name not in values:
            blame(path, f"`{'.'.join((*path, name))}` is missing")
    return kind(**found) if len(blame.problems) == before else None


def _cast(hint: Any, value: Any, blame: _Blame, path: tuple[str, ...]) -> Any:
    tests: dict[Any, tuple[Callable[[Any], bool], str]] = {
        bool: (lambda v: isinstance(v, bool), "true or false"),
        int: (lambda v: isinstance(v, int) and not isinstance(v, bool), "a whole number"),
        float: (lambda v: isinstance(v, (int, float)) and not isinstance(v, bool), "a number"),
        str: (lambda v: isinstance(v, str), "text"),
    }
    if hint in tests:
        fits, what = tests[hint]
        if not fits(value):
            blame(path, f"`{'.'.join(path)}` must be {what}, not {value!r}")
            return value
        return hint(value)
    if hint == tuple[str, ...]:
        if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
            blame(path, f"`{'.'.join(path)}` must be a list of texts")
            return ()
        return tuple(value)
    if not isinstance(value, dict) or not all(isinstance(k, str) and isinstance(v, str) for k, v in value.items()):
        blame(path, f"`{'.'.join(path)}` must hold `name: column` pairs")
    return value


def _plain(node: yaml.Node | None, place: str, problems: list[str]) -> tuple[Any, dict[tuple[str, ...], int | str]]:
    """Plain values of a document and the line of each key; a key that stands twice is a problem."""
    lines: dict[tuple[str, ...], int | str] = {}

    def walk(node: yaml.Node, path: tuple[str, ...]) -> Any:
        lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            found: dict[str, Any] = {}
            for key, value in node.value:
                name = str(key.value)
                if name in found:
                    problems.append(f"{place}:{key.start_mark.line + 1}: `{'.'.join((*path, name))}` stands here for the second time")
                lines[(*path, name)] = key.start_mark.line + 1
                found[name] = walk(value, (*path, name))
            return found
        if isinstance(node, yaml.SequenceNode):
            return [walk(item, (*path, str(n))) for n, item in enumerate(node.value)]
        return _number(yaml.safe_load(yaml.serialize(node)))

    return (walk(node, ()) if node is not None else None), lines


def _override(values: Any, lines: dict[tuple[str, ...], int | str], override: str, problems: list[str]) -> None:
    key, equals, raw = override.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path) or not isinstance(values, dict):
        problems.append(f"--override {override}: write it as section.key=value")
        return
    try:
        value = _number(yaml.safe_load(raw))
    except yaml.YAMLError:
        problems.append(f"--override {override}: {raw!r} is no value; quote it")
        return
    inner = values
    for name in path[:-1]:
        inner = inner.setdefault(name, {})
        if not isinstance(inner, dict):
            problems.append(f"--override {override}: {name} holds a value, no keys")
            return
    inner[path[-1]] = value
    lines[path] = f"--override {override}"


def _number(value: Any) -> Any:
    """`1e-3` is text to YAML 1.1, and a number to everyone who writes it."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value):
        return float(value)
    return value
