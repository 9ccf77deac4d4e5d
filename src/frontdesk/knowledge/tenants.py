"""Tenant folders, read strictly. Refuses unknown keys, wrong values, duplicates and aliases, each with file, line and a remedy.

Every problem of every folder is collected before anything is refused, so that one start shows all of them.
An unset `${VAR}` in a header is not a problem here: it only switches that tenant's tools off, when they are loaded.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import re
import zoneinfo
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import yaml

from frontdesk.domain.knowledge import FaqPair
from frontdesk.domain.tenancy import HandoffContact, Identity, Retention, Tenant, TenantId, ToolSource
from frontdesk.errors import BadTenant

TENANT_FILE = "tenant.yaml"
FAQ_FILES = ("faq.yaml", "faq.csv", "faq.jsonl")
_MISNAMED = {"tenant.yml": TENANT_FILE, "faq.yml": "faq.yaml", "faq.json": "faq.jsonl"}
_MAX_BYTES = 8 * 1024 * 1024

_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_CLAIM = re.compile(r"customer\.[A-Za-z_][\w.-]*")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_ENV_NAME = re.compile(r"[A-Za-z_]\w*")
_ALGORITHMS = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
    "Ed25519",
    "HS256",
    "HS384",
    "HS512",
)
_STRATEGIES = ("inline", "react", "native")
_PROPOSERS = ("desk", "model")
_LONGEST_DAYS = 36_500
_OPEN_SECTIONS = ("profile", "budget", "scoring", "guardrails", "demo")

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one reads ten thousand pairs in half a second, the other in five


def load_tenants(folder: Path) -> list[Tenant]:
    """Every tenant below `folder`, sorted by folder name; subfolders without a tenant.yaml are ignored.

    Raises BadTenant listing every problem of every tenant, or saying that the folder holds none.
    """
    if not folder.is_dir():
        raise BadTenant(f"{folder}: there is no such folder; give the folder that holds one folder per tenant (--tenants DIR)")
    if (folder / TENANT_FILE).is_file():
        raise BadTenant(f"{folder}: this is one tenant's own folder; give the folder above it, which holds one folder per tenant")
    problems: list[str] = []
    read: list[tuple[Tenant, _File]] = []
    for sub in sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")):
        _refuse_misnamed(sub, problems)
        if not (sub / TENANT_FILE).is_file():
            continue
        file = _File(sub / TENANT_FILE, problems)
        tenant = _tenant(sub, file)
        _faq(sub, problems)
        if tenant is not None:
            read.append((tenant, file))
    _refuse_clashes(read, problems)
    if problems:
        raise BadTenant(_listing(problems))
    if not read:
        raise BadTenant(f"{folder}: no tenant found; create a folder in it that holds a {TENANT_FILE} with `id` and `name`")
    return [tenant for tenant, _ in read]


def load_tenant(folder: Path) -> Tenant:
    """The one tenant whose folder this is. Raises BadTenant with every problem of its files."""
    problems: list[str] = []
    if not (folder / TENANT_FILE).is_file():
        _refuse_misnamed(folder, problems)
        raise BadTenant(_listing(problems) if problems else f"{folder}: it holds no {TENANT_FILE}; create one with `id` and `name`")
    tenant = _tenant(folder, _File(folder / TENANT_FILE, problems))
    _faq(folder, problems)
    if problems or tenant is None:
        raise BadTenant(_listing(problems))
    return tenant


def load_faq(folder: Path) -> list[FaqPair]:
    """The tenant's FAQ pairs in file order, from faq.yaml, faq.csv and faq.jsonl; none of them there: an empty list.

    Raises BadTenant with every problem found.
    """
    problems: list[str] = []
    pairs = _faq(folder, problems)
    if problems:
        raise BadTenant(_listing(problems))
    return pairs


# --- one file, its nodes and what is wrong with them ---


@dataclass(frozen=True)
class _File:
    path: Path
    problems: list[str]
    seen: set[int] = field(default_factory=set)

    def blame(self, where: yaml.Node | int | None, what: str) -> None:
        line = where if isinstance(where, int) else 1 if where is None else where.start_mark.line + 1
        self.problems.append(f"{self.path}:{line}: {what}")

    def text(self) -> str | None:
        try:
            raw = self.path.read_bytes()
        except OSError as error:
            self.blame(None, f"cannot be read ({error.strerror}); check that it is a file this program may read")
            return None
        if len(raw) > _MAX_BYTES:
            self.blame(None, f"is larger than {_MAX_BYTES // 2**20} MB; move long texts into documents below knowledge/")
            return None
        try:
            return raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            self.blame(raw[: error.start].count(b"\n") + 1, "is not UTF-8 text; save the file as UTF-8")
            return None

    def root(self) -> yaml.Node | None:
        """The document's root node, or None after blaming the file."""
        text = self.text()
        if text is None:
            return None
        loader = None
        try:
            loader = _Loader(text)
            node: yaml.Node | None = loader.get_single_node()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self.blame(
                mark.line + 1 if mark else 1, f"is not valid YAML ({error.problem}); check indentation, colons and quotes on this line"
            )
            return None
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            self.blame(line, f"holds a character that YAML does not allow (#x{ord(error.character):04x}); delete it")
            return None
        except RecursionError:
            self.blame(None, "is nested too deeply; write it flatter")
            return None
        finally:
            if loader is not None:
                loader.dispose()
        if node is None:
            self.blame(None, "is empty; see the documentation for what belongs in it")
        return node

    def mapping(self, node: yaml.Node, what: str, known: Collection[str] | None) -> dict[str, yaml.Node]:
        """Its values by key. Blames a node of another kind, unknown keys (`known` None: any), duplicates and aliases."""
        if not isinstance(node, yaml.MappingNode):
            self.blame(node, f"{what} must be a mapping; write `key: value` lines")
            return {}
        if not self._fresh(node):
            return {}
        values: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            if not name or name == "<<":
                self.blame(key, f"a key of {what} must be a plain word; write `key: value`")
            elif name in values:
                self.blame(key, f"{name!r} stands twice in {what}; keep one of the two")
            elif known is not None and name not in known:
                self.blame(key, f"unknown key {name!r} in {what}; {_suggest(name, known)}")
            else:
                values[name] = value
        return values

    def sequence(self, node: yaml.Node, what: str) -> list[yaml.Node]:
        if not isinstance(node, yaml.SequenceNode):
            self.blame(node, f"{what} must be a list; write `[a, b]` or one `- item` per line")
            return []
        return list(node.value) if self._fresh(node) else []

    def string(self, node: yaml.Node, what: str, pattern: re.Pattern[str] | None = None, remedy: str = "", *, empty: bool = False) -> str:
        """Scalars as they are written, so that a phone number keeps its leading zero."""
        if not isinstance(node, yaml.ScalarNode) or (node.tag.endswith(":null") and not node.style):
            self.blame(node, f"{what} must be a text; {remedy or 'write it after the colon'}")
            return ""
        value = str(node.value).strip()
        if not value:
            if not empty:
                self.blame(node, f"{what} is empty; {remedy or 'fill it in or delete the line'}")
        elif pattern is not None and not pattern.fullmatch(value):
            self.blame(node, f"{what} cannot be {_shorten(value)!r}; {remedy}")
            return ""
        return value

    def plain(self, node: yaml.Node, what: str) -> Any:
        """The node as plain Python values, for sections whose keys belong to other rooms."""
        if isinstance(node, yaml.MappingNode):
            return {key: self.plain(value, f"{what}.{key}") for key, value in self.mapping(node, what, None).items()}
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(value, what) for value in self.sequence(node, what)]
        constructor = yaml.constructor.SafeConstructor()
        try:
            return constructor.construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError):
            self.blame(node, f"{what} has a value that cannot be used; write a text, a number, true or false")
            return None

    def _fresh(self, node: yaml.Node) -> bool:
        # An alias is the very node again; a few of them inside one another can stand for billions of values.
        if id(node) in self.seen:
            self.blame(node, "YAML aliases (*name) are not supported; write the value out")
            return False
        self.seen.add(id(node))
        return True


def _suggest(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name.lower(), known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"use one of {', '.join(known)}, or delete it"


def _shorten(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _listing(problems: Sequence[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return f"{len(problems)} problems in the tenant folders:\n" + "\n".join(f"  {p}" for p in problems)


def _refuse_misnamed(folder: Path, problems: list[str]) -> None:
    problems.extend(
        f"{folder / wrong}:1: this name is not read; rename it to {right}"
        for wrong, right in _MISNAMED.items()
        if (folder / wrong).is_file()
    )


def _refuse_clashes(read: Sequence[tuple[Tenant, _File]], problems: list[str]) -> None:
    owners: dict[TenantId, Path] = {}
    for tenant, file in read:
        if tenant.id in owners:
            file.blame(None, f"the id {tenant.id!r} is already taken by {owners[tenant.id]}; give this tenant another id")
        owners.setdefault(tenant.id, file.path)
    for tenant, file in read:
        for line in tenant.lines:
            if line == tenant.id or line not in owners:
                others = [t.id for t, _ in read if t.id != tenant.id]
                file.blame(None, f"lines names {line!r}, which is no other tenant here; {_suggest(line, others)}")


# --- tenant.yaml ---


def _tenant(folder: Path, file: _File) -> Tenant | None:
    root = file.root()
    if root is None:
        return None
    before = len(file.problems)
    readers: dict[str, Callable[[yaml.Node], Any]] = {
        "id": lambda n: _identifier(file, n, folder.name),
        "name": lambda n: file.string(n, "name"),
        "description": lambda n: file.string(n, "description", empty=True),
        "persona": lambda n: file.string(n, "persona", empty=True),
        "languages": lambda n: _languages(file, n),
        "timezone": lambda n: _timezone(file, n),
        "handoff": lambda n: _handoff(file, n),
        "tools": lambda n: tuple(_tool(file, item, folder) for item in file.sequence(n, "tools")),
        "lines": lambda n: tuple(TenantId(file.string(item, "an entry of lines")) for item in file.sequence(n, "lines")),
        "identity": lambda n: _identity(file, n),
        "retention": lambda n: _retention(file, n),
        "models": lambda n: _models(file, n),
        **{name: partial(_open_section, file, name) for name in _OPEN_SECTIONS},
    }
    nodes = file.mapping(root, "tenant.yaml", tuple(readers))
    for needed in ("id", "name"):
        if needed not in nodes and isinstance(root, yaml.MappingNode):
            file.blame(root, f"{needed!r} is missing; add a line `{needed}: ...`")
    values = {name: readers[name](node) for name, node in nodes.items()}
    return Tenant(folder=folder, **values) if len(file.problems) == before else None


def _identifier(file: _File, node: yaml.Node, folder: str) -> TenantId:
    value = file.string(node, "id")
    if value and not _SLUG.fullmatch(value) and not (value == folder and _SAFE_NAME.fullmatch(value)):
        file.blame(node, f"id cannot be {_shorten(value)!r}; use small letters, digits and hyphens, for example the folder's name")
    return TenantId(value)


def _languages(file: _File, node: yaml.Node) -> tuple[str, ...]:
    items = file.sequence(node, "languages")
    if isinstance(node, yaml.SequenceNode) and not node.value:
        file.blame(node, "languages is empty; name at least one, for example [en]")
    return tuple(file.string(item, "a language", _LANGUAGE, "write a code such as en, de or pt-BR") for item in items)


def _timezone(file: _File, node: yaml.Node) -> str:
    value = file.string(node, "timezone")
    try:
        zoneinfo.ZoneInfo(value or "UTC")
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        file.blame(node, f"timezone {_shorten(value)!r} is unknown; write a name such as Europe/London or UTC")
    return value


def _handoff(file: _File, node: yaml.Node) -> HandoffContact:
    nodes = file.mapping(node, "handoff", ("email", "phone", "hours"))
    values = {name: file.string(value, f"handoff.{name}", empty=True) for name, value in nodes.items() if name != "email"}
    if "email" in nodes:
        values["email"] = file.string(nodes["email"], "handoff.email", _EMAIL, "write an address such as help@example.com", empty=True)
    return HandoffContact(**values)


def _tool(file: _File, node: yaml.Node, folder: Path) -> ToolSource:
    nodes = file.mapping(node, "an entry of tools", ("openapi", "server", "headers", "bind"))
    if "openapi" not in nodes:
        if isinstance(node, yaml.MappingNode):
            file.blame(node, "'openapi' is missing in an entry of tools; add the path of its OpenAPI document, such as tools/openapi.yaml")
        return ToolSource(openapi="")
    return ToolSource(
        openapi=_openapi(file, nodes["openapi"], folder),
        server=_url(file, nodes["server"], "server") if "server" in nodes else "",
        headers=_headers(file, nodes["headers"]) if "headers" in nodes else {},
        bind=_bind(file, nodes["bind"]) if "bind" in nodes else {},
    )


def _openapi(file: _File, node: yaml.Node, folder: Path) -> str:
    value = file.string(node, "openapi")
    path = PurePosixPath(value)
    if value and (path.is_absolute() or ".." in path.parts or "\\" in value):
        file.blame(node, f"openapi {_shorten(value)!r} leaves the tenant's folder; move the document into it")
    elif value and not (folder / path).is_file():
        file.blame(node, f"openapi names {_shorten(value)!r}, which does not exist in {folder}; correct the path or add the file")
    return value


def _url(file: _File, node: yaml.Node, what: str) -> str:
    value = file.string(node, what)
    try:
        parts = urlsplit(value)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if value and (not good or re.search(r"\s", value)):
        file.blame(node, f"{what} cannot be {_shorten(value)!r}; write an address that starts with https:// or http://")
    return value


def _headers(file: _File, node: yaml.Node) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    for name, value in file.mapping(node, "headers", None).items():
        text = file.string(value, f"header {name}")
        if not _HEADER.fullmatch(name) or "\n" in text or "\r" in text:
            file.blame(value, f"header {_shorten(name)!r} is not valid HTTP; use letters and hyphens in the name and one line as the value")
        headers[name] = text
    return headers


def _bind(file: _File, node: yaml.Node) -> Mapping[str, str]:
    remedy = "write customer.id, or customer. and the name of a claim in the customer's token"
    return {name: file.string(value, f"bind.{name}", _CLAIM, remedy) for name, value in file.mapping(node, "bind", None).items()}


def _identity(file: _File, node: yaml.Node) -> Identity:
    nodes = file.mapping(
        node, "identity", ("issuer", "audience", "algorithms", "jwks_url", "secret_env", "sign_in_url", "client_id", "client_secret_env")
    )
    values: dict[str, Any] = {}
    for name, value in nodes.items():
        if name == "algorithms":
            values[name] = tuple(_algorithm(file, item) for item in file.sequence(value, "identity.algorithms"))
        elif name in {"jwks_url", "sign_in_url"}:
            values[name] = _url(file, value, f"identity.{name}")
        elif name in {"secret_env", "client_secret_env"}:
            values[name] = file.string(value, f"identity.{name}", _ENV_NAME, "write the name of an environment variable, not the secret")
        else:
            values[name] = file.string(value, f"identity.{name}")
    return Identity(**values)


def _retention(file: _File, node: yaml.Node) -> Retention:
    nodes = file.mapping(node, "retention", ("days",))
    if "days" not in nodes:
        if isinstance(node, yaml.MappingNode):
            file.blame(node, "'days' is missing in retention; add `days: 365`, or delete the section to keep everything")
        return Retention()
    days = file.plain(nodes["days"], "retention.days")
    if type(days) is not int or not 1 <= days <= _LONGEST_DAYS:
        file.blame(nodes["days"], f"retention.days must be a whole number from 1 to {_LONGEST_DAYS}; write for example `days: 365`")
        return Retention()
    return Retention(days=days)


def _models(file: _File, node: yaml.Node) -> Mapping[str, Any]:
    nodes = file.mapping(node, "models", ("strategy", "propose", "phrase", "translate"))
    values: dict[str, Any] = {}
    for name, value in nodes.items():
        if name == "phrase":
            values[name] = file.plain(value, "models.phrase")
            if not isinstance(values[name], bool):
                file.blame(value, "models.phrase must be true or false; write `phrase: false` to keep the model from wording live values")
        elif name == "translate":
            values[name] = file.string(value, "models.translate", None, "write the name of a model at FRONTDESK_LLM_URL that translates")
        else:
            allowed = _STRATEGIES if name == "strategy" else _PROPOSERS
            values[name] = file.string(value, f"models.{name}")
            if values[name] and values[name] not in allowed:
                file.blame(value, f"models.{name} cannot be {_shorten(values[name])!r}; {_suggest(values[name], allowed)}")
    return values


def _algorithm(file: _File, node: yaml.Node) -> str:
    value = file.string(node, "an algorithm")
    if value and value not in _ALGORITHMS:
        file.blame(node, f"the algorithm {_shorten(value)!r} is not supported; {_suggest(value, _ALGORITHMS)}")
    return value


def _open_section(file: _File, name: str, node: yaml.Node) -> Mapping[str, Any]:
    if not isinstance(node, yaml.MappingNode):
        file.blame(node, f"{name} must be a mapping; write `key: value` lines below it")
        return {}
    plain = file.plain(node, name)
    return plain if isinstance(plain, dict) else {}


# --- the FAQ ---


def _faq(folder: Path, problems: list[str]) -> list[FaqPair]:
    readers = {"faq.yaml": _yaml_pairs, "faq.csv": _csv_pairs, "faq.jsonl": _jsonl_pairs}
    pairs: dict[str, FaqPair] = {}
    for name in FAQ_FILES:
        if not (folder / name).is_file():
            continue
        file = _File(folder / name, problems)
        for line, pair in readers[name](file):
            known = pairs.setdefault(" ".join(pair.question.casefold().split()), pair)
            if known.answer != pair.answer:
                file.blame(line, f"the question {_shorten(pair.question)!r} has two different answers; keep one of them")
    return list(pairs.values())


def _yaml_pairs(file: _File) -> Iterator[tuple[int, FaqPair]]:
    root = file.root()
    for item in file.sequence(root, "the FAQ") if root is not None else ():
        nodes = file.mapping(item, "an FAQ entry", ("question", "answer"))
        if not isinstance(item, yaml.MappingNode):
            continue
        missing = [name for name in ("question", "answer") if name not in nodes]
        if missing:
            file.blame(item, f"{missing[0]!r} is missing in this FAQ entry; add it")
            continue
        question, answer = (file.string(nodes[name], f"the {name}") for name in ("question", "answer"))
        if question and answer:
            yield item.start_mark.line + 1, FaqPair(question=question, answer=answer)


def _csv_pairs(file: _File) -> Iterator[tuple[int, FaqPair]]:
    text = file.text()
    if text is None:
        return
    first = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";" if first.count(";") > first.count(",") else ",", strict=True)
    try:
        header = [cell.strip().casefold() for cell in next(reader, [])]
        if sorted(header) != ["answer", "question"]:
            file.blame(None, "the first line must name the columns; write `question,answer` and no others")
            return
        end = reader.line_num
        for row in reader:
            start, end = end + 1, reader.line_num
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(header):
                file.blame(start, f"has {len(row)} columns in place of 2; put a text that holds a comma in double quotes")
                continue
            yield from _pair(file, start, dict(zip(header, row, strict=True)))
    except csv.Error as error:
        file.blame(reader.line_num, f"is not valid CSV ({error}); check the double quotes on this line")


def _jsonl_pairs(file: _File) -> Iterator[tuple[int, FaqPair]]:
    for number, line in enumerate((file.text() or "").split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            file.blame(number, f"is not valid JSON ({error}); write one object a line, with question and answer")
            continue
        if not isinstance(row, dict):
            file.blame(number, 'is not an object; write {"question": "...", "answer": "..."}')
            continue
        unknown = [name for name in row if name not in {"question", "answer"}]
        if unknown:
            file.blame(
                number, f"unknown key {_shorten(str(unknown[0]))!r} in an FAQ entry; {_suggest(str(unknown[0]), ('question', 'answer'))}"
            )
        else:
            yield from _pair(file, number, row)


def _pair(file: _File, line: int, row: Mapping[str, Any]) -> Iterator[tuple[int, FaqPair]]:
    for name in ("question", "answer"):
        if not isinstance(row.get(name), str) or not row[name].strip():
            file.blame(line, f"the {name} is missing or empty in this FAQ entry; fill it in")
            return
    yield line, FaqPair(question=row["question"].strip(), answer=row["answer"].strip())
