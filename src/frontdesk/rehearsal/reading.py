"""Text files of a rehearsal: YAML read strictly, prompts in the article's form. Refuses unknown keys and missing variables, with a remedy."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from frontdesk.errors import BadInput

PRESETS = resources.files("frontdesk.rehearsal") / "presets"
_VARIABLE = re.compile(r"(?<!\{)\{(\w+)\}(?!\})")
_ROLE_PREFIX = re.compile(r"^(?:\s*(?:customer|agent|support agent|assistant|user)\s*:)+\s*", re.IGNORECASE)


def load_yaml(path: Path) -> Any:
    """What a YAML file holds. Raises BadInput naming the file and what is wrong with it."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{path}: there is no such file: give the path of a YAML file, or a preset's name") from None
    except yaml.MarkedYAMLError as why:
        line = why.problem_mark.line + 1 if why.problem_mark else 1
        raise BadInput(f"{path}:{line}: {why.problem or 'is no YAML'}: correct the file") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as why:
        raise BadInput(f"{path}: cannot be read ({type(why).__name__}): save it as UTF-8 YAML") from None


def preset(name: str) -> Path:
    """The path of a file that ships with the program, such as `acme/cast.yaml`. Raises BadInput."""
    path = Path(str(PRESETS)) / name
    if not path.exists():
        raise BadInput(f"there is no preset {name!r}: choose from {', '.join(presets())}, or give the path of a file")
    return path


def presets() -> list[str]:
    """Names of the presets that hold scenarios."""
    return sorted(p.name for p in Path(str(PRESETS)).iterdir() if (p / "scenarios.yaml").is_file())


@cache
def words() -> Mapping[str, tuple[str, ...]]:
    """The program's own sentences and word lists for rehearsals, from `presets/words.yaml`."""
    return {str(k): texts(str(k), v) for k, v in load_yaml(preset("words.yaml")).items()}


@cache
def small_words() -> frozenset[str]:
    """Words that say nothing about a subject."""
    return frozenset(words()["small"])


def fields(place: str, given: Any, allowed: Collection[str], *, required: Collection[str] = ()) -> Mapping[str, Any]:
    """`given` as a mapping with known keys only. Raises BadInput naming `place`."""
    if not isinstance(given, Mapping):
        raise BadInput(f"{place}: must be a mapping of {', '.join(allowed)}")
    for name in given:
        if name not in allowed:
            raise BadInput(f"{place}: {name!r} is not known here: use {', '.join(allowed)}")
    for name in required:
        if given.get(name) in (None, "", [], {}):
            raise BadInput(f"{place}: {name!r} is missing: add it")
    return given


def texts(place: str, given: Any) -> tuple[str, ...]:
    """A list of texts; one text stands for a list of one. Raises BadInput."""
    rows = [] if given is None else [given] if isinstance(given, str | int | float) else given
    if not isinstance(rows, Sequence) or not all(isinstance(r, str | int | float) for r in rows):
        raise BadInput(f"{place}: must be a text or a list of texts")
    return tuple(" ".join(str(r).split()) for r in rows)


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A prompt file in the article's form: `_type: prompt`, `input_variables`, `partial_variables`, `template`; `system` may be added."""

    template: str
    inputs: tuple[str, ...]
    partial: Mapping[str, str]
    system: str = ""
    source: str = ""

    def render(self, values: Mapping[str, Any]) -> str:
        """The template with its variables filled in, partial ones unless `values` has them. Raises BadInput for one without a value."""
        known = {**self.partial, **{k: str(v) for k, v in values.items()}}
        self.check(known)
        return _VARIABLE.sub(lambda m: known[m[1]], self.template).strip()

    def check(self, known: Collection[str]) -> None:
        """Whether every variable will have a value. Raises BadInput naming the first that has none."""
        for name in _VARIABLE.findall(self.template):
            if name not in known and name not in self.partial:
                raise BadInput(
                    f"{self.source}: the template uses {{{name}}}, which nobody fills in: add it to partial_variables, or use one of "
                    f"{', '.join(sorted(known))}"
                )


def load_prompt(path: Path) -> Prompt:
    """A prompt file as LangChain's `load_prompt` reads them. Raises BadInput naming the file and what is missing."""
    given = load_yaml(path)
    row = fields(str(path), given, ("_type", "input_variables", "partial_variables", "template", "system"), required=("template",))
    if row.get("_type", "prompt") != "prompt":
        raise BadInput(f"{path}: `_type: {row['_type']}` cannot be used here: only `_type: prompt` can")
    partial = {str(k): str(v) for k, v in fields_of(path, row.get("partial_variables")).items()}
    inputs = texts(f"{path}: input_variables", row.get("input_variables"))
    # Folded YAML keeps a written \n as two characters; what was meant is a line break.
    template = str(row["template"]).replace("\\n", "\n")
    used = set(_VARIABLE.findall(template))
    for name in used - set(inputs) - set(partial):
        raise BadInput(f"{path}: the template uses {{{name}}}, which is in neither input_variables nor partial_variables: declare it")
    for name in set(inputs) - used:
        raise BadInput(f"{path}: {name!r} is declared in input_variables, but the template never uses {{{name}}}: add or remove it")
    return Prompt(
        template=template, inputs=inputs, partial=partial, system=" ".join(str(row.get("system") or "").split()), source=str(path)
    )


def fields_of(path: Path, given: Any) -> Mapping[str, Any]:
    """A mapping that may be absent. Raises BadInput."""
    if given is not None and not isinstance(given, Mapping):
        raise BadInput(f"{path}: partial_variables must be a mapping of names to texts")
    return given or {}


def spoken(text: str) -> str:
    """A model's words as a message: one leading `CUSTOMER:` goes, white space is folded, nothing else is touched."""
    return " ".join(_ROLE_PREFIX.sub("", text, count=1).split())
