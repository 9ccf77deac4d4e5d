"""Reads one OpenAPI document.

Refuses, with the JSON path, whatever could be read in two ways or cannot be called safely: cookies, alternatives, external references,
bodies that are not JSON objects, two operations of one name. Reading is lenient only where nothing is sent: in response schemas.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import yaml

from frontdesk.errors import BadToolSpec
from frontdesk.tools.labels import labels_of
from frontdesk.tools.operation import Argument, Derived, Effect, Operation, Place, Schema, Server, words_of

METHODS = ("get", "head", "post", "put", "patch", "delete")
READING = frozenset({"get", "head"})
MAX_NODES = 50_000
"""Schema nodes per document after references are followed; more is a bomb or a mistake."""


def operations_of(text: str, *, file: str, server: Server, bind: Mapping[str, str]) -> list[Operation]:
    """The operations of one document, in its order. `server.url` wins over the document's own unless empty. Raises BadToolSpec."""
    return _Document(file=file, root=_parse_yaml(text, file)).operations(server, bind)


class _Loader(yaml.SafeLoader):
    """YAML as OpenAPI means it (the 1.2 core schema): `no` is a word, a date is a string, a key stands once."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - yaml's own attribute, emptied for this class

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen and key.value != "<<":
                    raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} stands twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", [*"tTfF"]),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", [*"-+0123456789"]),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?$", [*"-+.0123456789"]),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("merge", r"^<<$", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


def _parse_yaml(text: str, file: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - _Loader is a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadToolSpec(f"{file}:{line}: is not valid YAML or JSON: {error.problem}") from None
    except (yaml.YAMLError, RecursionError, ValueError):
        raise BadToolSpec(f"{file}: is not valid YAML or JSON: check it with any OpenAPI editor") from None


_FORBIDDEN = (
    "not",
    "if",
    "then",
    "else",
    "patternProperties",
    "dependentSchemas",
    "propertyNames",
    "prefixItems",
    "contains",
    "$dynamicRef",
)
_KEPT = (
    "type",
    "format",
    "enum",
    "const",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "uniqueItems",
    "default",
    "title",
    "description",
    "readOnly",
    "x-unit",
    "x-currency",
    "x-labels",
    "x-each",
)
_RISKY = re.compile(r"\((?:[^()\\]|\\.)*[+*}](?:[^()\\]|\\.)*\)[+*{]")
"""A repeated group with a repetition inside: such a pattern can take exponential time."""
_SCALARS = ("string", "integer", "number", "boolean")
_OWN_HEADERS = frozenset({"authorization", "content-type", "accept", "idempotency-key"})
"""Header parameters that the platform itself sends; a document that lists them asks nobody for them."""


class _Document:
    """One parsed OpenAPI document while its operations are read."""

    def __init__(self, *, file: str, root: Any) -> None:
        self._file = file
        self._nodes = 0
        if not isinstance(root, Mapping):
            raise BadToolSpec(f"{file}: is not an OpenAPI document: it must be a mapping with `openapi`, `info` and `paths`")
        self._root = root
        version = str(root.get("openapi", ""))
        if not version.startswith(("3.0", "3.1")):
            raise self.refuse("openapi", f"says {version or 'nothing'}, this program reads OpenAPI 3.1: convert the document")

    def operations(self, server: Server, bind: Mapping[str, str]) -> list[Operation]:
        paths = self.mapping(self._root.get("paths", {}), "paths")
        found: list[Operation] = []
        for path, item in paths.items():
            if str(path).startswith("x-"):
                continue
            where = f"paths.{path}"
            if not str(path).startswith("/"):
                raise self.refuse(where, "must begin with a slash")
            item = self.mapping(self.follow(item, where), where)
            for method in METHODS:
                if method not in item:
                    continue
                at = f"{where}.{method}"
                raw = self.mapping(item[method], at)
                flags = self._flags(raw, at)
                if flags["ignore"]:
                    continue
                url = server.url or self._server_of(raw, item, at)
                reader = _OperationReader(self, str(path), method, raw, item, at)
                operation = reader.read(replace(server, url=url.rstrip("/")), bind, flags)
                if any(o.name == operation.name for o in found):
                    raise self.refuse(f"{at}.operationId", f"{operation.name!r} stands twice: give each operation its own")
                found.append(operation)
        return found

    def _flags(self, raw: Mapping[str, Any], at: str) -> dict[str, bool]:
        flags = {"confirm": False, "signed_in": False, "ignore": False}
        for key, value in self.mapping(raw.get("x-frontdesk", {}), f"{at}.x-frontdesk").items():
            if key in ("then", "identifies"):
                continue
            if key not in flags:
                raise self.refuse(f"{at}.x-frontdesk.{key}", f"is unknown: use {', '.join(flags)}, identifies or then")
            if not isinstance(value, bool):
                raise self.refuse(f"{at}.x-frontdesk.{key}", "must be true or false")
            flags[key] = value
        return flags

    def identifies(self, raw: Mapping[str, Any], method: str, at: str) -> str:
        """The field of `x-frontdesk: identifies:`, which only a read may have: nobody is made a customer by acting."""
        named = self.mapping(raw.get("x-frontdesk", {}), f"{at}.x-frontdesk").get("identifies", "")
        if not isinstance(named, str) or (named and method not in READING):
            raise self.refuse(f"{at}.x-frontdesk.identifies", "must name the field of a GET's answer that holds the customer's id")
        return named

    def derived(self, raw: Mapping[str, Any], at: str) -> tuple[Derived, ...]:
        """What `x-frontdesk: then:` works out of an answer: a list of `{label, calculate, currency}`."""
        where = f"{at}.x-frontdesk.then"
        rows = self.mapping(raw.get("x-frontdesk", {}), f"{at}.x-frontdesk").get("then", [])
        if not isinstance(rows, list):
            raise self.refuse(where, "must be a list of entries with `label` and `calculate`")
        found = []
        for index, row in enumerate(rows):
            entry = self.mapping(row, f"{where}[{index}]")
            if set(entry) - {"label", "calculate", "currency"} or not all(isinstance(v, str) and v for v in entry.values()):
                raise self.refuse(f"{where}[{index}]", "takes `label`, `calculate` and `currency`, each a text")
            if "label" not in entry or "calculate" not in entry:
                raise self.refuse(f"{where}[{index}]", "needs `label` and `calculate`")
            found.append(Derived(label=entry["label"], expression=entry["calculate"], currency=entry.get("currency", "")))
        return tuple(found)

    def _server_of(self, raw: Mapping[str, Any], item: Mapping[str, Any], at: str) -> str:
        for owner, where in ((raw, f"{at}.servers"), (item, at.rsplit(".", 1)[0] + ".servers"), (self._root, "servers")):
            servers = owner.get("servers")
            if servers:
                first = self.mapping(servers[0] if isinstance(servers, list) else servers, f"{where}[0]")
                url = str(first.get("url", ""))
                for name, variable in self.mapping(first.get("variables", {}), f"{where}[0].variables").items():
                    url = url.replace(f"{{{name}}}", str(self.mapping(variable, where).get("default", "")))
                parts = urlsplit(url)
                if parts.scheme not in ("http", "https") or not parts.netloc or "{" in url:
                    raise self.refuse(f"{where}[0].url", f"{url!r} is not a full address: name `server:` in tenant.yaml")
                return url
        raise self.refuse("servers", "is missing: name `server:` in tenant.yaml or `servers:` here")

    def refuse(self, where: str, what: str) -> BadToolSpec:
        """The error that names file, place and remedy."""
        return BadToolSpec(f"{self._file}: {where} {what}")

    def mapping(self, value: Any, where: str) -> Mapping[str, Any]:
        """`value` as the mapping it must be."""
        if not isinstance(value, Mapping):
            raise self.refuse(where, "must be a mapping")
        return value

    def follow(self, node: Any, where: str, stack: tuple[str, ...] = ()) -> Any:
        """`node`, or what its `$ref` points at (with siblings on top, as 3.1 allows)."""
        while isinstance(node, Mapping) and "$ref" in node:
            reference = str(node["$ref"])
            if reference in stack:
                raise self.refuse(f"{where}.$ref", f"{reference!r} leads back to itself: describe the value without recursion")
            stack = (*stack, reference)
            target = self._target(reference, where)
            node = {**target, **{k: v for k, v in node.items() if k != "$ref"}} if isinstance(target, Mapping) else target
        return node

    def _target(self, reference: str, where: str) -> Any:
        if not reference.startswith("#/"):
            raise self.refuse(f"{where}.$ref", f"{reference!r} points outside this document: put the part under `components`")
        node: Any = self._root
        for part in reference[2:].split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(node, list) and key.isdigit() and int(key) < len(node):
                node = node[int(key)]
            elif isinstance(node, Mapping) and key in node:
                node = node[key]
            else:
                raise self.refuse(f"{where}.$ref", f"{reference!r} points at nothing: correct it")
        return node

    def schema(self, node: Any, where: str, *, strict: bool, stack: tuple[str, ...] = ()) -> dict[str, Any]:
        """The schema without references, alternatives and nullability; `strict` refuses what cannot be said that way."""
        self._nodes += 1
        if self._nodes > MAX_NODES or len(stack) > 64:
            raise self.refuse(where, "unfolds into too many parts: simplify the schemas")
        if isinstance(node, Mapping) and "$ref" in node:
            reference = str(node["$ref"])
            if reference in stack:
                if strict:
                    raise self.refuse(f"{where}.$ref", f"{reference!r} leads back to itself: describe the value without recursion")
                return {}
            stack = (*stack, reference)
            target = self._target(reference, where)
            rest = {k: v for k, v in node.items() if k != "$ref"}
            merged = {**target, **rest} if isinstance(target, Mapping) else target
            return self.schema(merged, where, strict=strict, stack=stack)
        if isinstance(node, bool) and not strict:
            return {}
        node = self.mapping(node, where)
        if strict:
            for key in _FORBIDDEN:
                if key in node:
                    raise self.refuse(f"{where}.{key}", "is not supported in what is sent: describe one plain type")
        tidy: dict[str, Any] = {k: node[k] for k in _KEPT if k in node}
        self._example(node, tidy)
        for index, part in enumerate(node.get("allOf", ())):
            self._merge(tidy, self.schema(part, f"{where}.allOf[{index}]", strict=strict, stack=stack), f"{where}.allOf[{index}]", strict)
        for key in ("anyOf", "oneOf"):
            if key in node:
                self._alternatives(tidy, node[key], f"{where}.{key}", strict, stack)
        self._one_type(tidy, node, where, strict)
        self._members(tidy, node, where, strict, stack)
        if isinstance(tidy.get("enum"), list) and "x-labels" not in tidy:
            tidy |= _labelled(tidy["enum"], node, str(tidy.get("description", "")))
        if strict:
            self._check(tidy, where)
        return tidy

    @staticmethod
    def _example(node: Mapping[str, Any], tidy: dict[str, Any]) -> None:
        examples = node.get("examples")
        if node.get("example") is not None:
            tidy["example"] = node["example"]
        elif isinstance(examples, list) and examples:
            tidy["example"] = examples[0]

    def _merge(self, into: dict[str, Any], part: Mapping[str, Any], where: str, strict: bool) -> None:
        for key, value in part.items():
            if key == "properties":
                for name, schema in value.items():
                    own = into.setdefault("properties", {})
                    if name in own:
                        mine = dict(own[name])
                        self._merge(mine, schema, f"{where}.properties.{name}", strict)
                        own[name] = mine
                    else:
                        own[name] = schema
            elif key == "required":
                into["required"] = [*into.get("required", ()), *(v for v in value if v not in into.get("required", ()))]
            elif key not in into:
                into[key] = value
            elif strict and into[key] != value and key not in ("title", "description", "example", "default"):
                raise self.refuse(f"{where}.{key}", f"says {value!r}, another part says {into[key]!r}: let them agree")

    def _alternatives(self, tidy: dict[str, Any], raw: Any, where: str, strict: bool, stack: tuple[str, ...]) -> None:
        if not isinstance(raw, list) or not raw:
            raise self.refuse(where, "must be a list")
        real = [(i, p) for i, p in enumerate(raw) if not (isinstance(p, Mapping) and p.get("type") == "null")]
        parts = [self.schema(p, f"{where}[{i}]", strict=strict and "const" not in p, stack=stack) for i, p in real]
        if len(parts) < len(raw):
            tidy["nullable"] = True
        if len(parts) == 1:
            self._merge(tidy, parts[0], where, strict)
        elif parts and all("const" in p for p in parts):
            tidy["enum"] = [p["const"] for p in parts]
            tidy["x-labels"] = {str(p["const"]): str(p["title"]) for p in parts if "title" in p}
        elif strict:
            raise self.refuse(where, "offers alternatives, so it is unclear what to ask for: describe one plain type")
        else:
            for part in parts:
                self._merge(tidy, {k: v for k, v in part.items() if k == "properties"}, where, strict=False)

    def _one_type(self, tidy: dict[str, Any], node: Mapping[str, Any], where: str, strict: bool) -> None:
        kind = tidy.get("type")
        if isinstance(kind, list):
            kinds = [k for k in kind if k != "null"]
            if len(kinds) != len(kind):
                tidy["nullable"] = True
            if len(kinds) != 1 and strict:
                raise self.refuse(f"{where}.type", f"names {len(kinds)} types: name one")
            tidy["type"] = kinds[0] if len(kinds) == 1 else None
        if node.get("nullable") is True:
            tidy["nullable"] = True
        if not tidy.get("type"):
            tidy["type"] = _infer(tidy, node)
            if tidy["type"] is None:
                if strict:
                    raise self.refuse(where, "has no type: say `type: string` or what it is")
                del tidy["type"]

    def _members(self, tidy: dict[str, Any], node: Mapping[str, Any], where: str, strict: bool, stack: tuple[str, ...]) -> None:
        if "properties" in node:
            members = self.mapping(node["properties"], f"{where}.properties")
            own = {str(n): self.schema(s, f"{where}.properties.{n}", strict=strict, stack=stack) for n, s in members.items()}
            tidy["properties"] = {**tidy.get("properties", {}), **own}
        if isinstance(node.get("required"), list):
            tidy["required"] = list(dict.fromkeys([*tidy.get("required", ()), *map(str, node["required"])]))
        if "items" in node:
            tidy["items"] = self.schema(node["items"], f"{where}.items", strict=strict, stack=stack)
        elif strict and tidy.get("type") == "array":
            raise self.refuse(f"{where}.items", "is missing: say what the list holds")

    def _check(self, tidy: dict[str, Any], where: str) -> None:
        kind = tidy.get("type")
        if kind not in (*_SCALARS, "array", "object"):
            raise self.refuse(f"{where}.type", f"{kind!r} is not supported: use string, integer, number, boolean, array or object")
        for bound in ("Minimum", "Maximum"):
            old_style = isinstance(tidy.get(f"exclusive{bound}"), bool)  # OpenAPI 3.0 wrote a flag beside the bound
            if old_style and tidy.pop(f"exclusive{bound}") and bound.lower() in tidy:
                tidy[f"exclusive{bound}"] = tidy.pop(bound.lower())
        if "enum" in tidy and (not isinstance(tidy["enum"], list) or not tidy["enum"]):
            raise self.refuse(f"{where}.enum", "must be a list of at least one value")
        if "pattern" in tidy:
            try:
                re.compile(str(tidy["pattern"]))
            except re.error as error:
                raise self.refuse(f"{where}.pattern", f"is not a regular expression this program can read ({error})") from None
            if _RISKY.search(str(tidy["pattern"])):
                raise self.refuse(f"{where}.pattern", "repeats a repetition, which can take forever: write it without nesting")


def _infer(tidy: Mapping[str, Any], node: Mapping[str, Any]) -> str | None:
    if "properties" in node or "properties" in tidy:
        return "object"
    if "items" in node:
        return "array"
    if "pattern" in tidy or "format" in tidy or "minLength" in tidy or "maxLength" in tidy:
        return "string"
    samples = [v for v in tidy.get("enum", ()) if v is not None] or [tidy[k] for k in ("const", "example") if k in tidy]
    for python, name in ((bool, "boolean"), (int, "integer"), (str, "string"), (float, "number")):
        if samples and all(isinstance(s, python) for s in samples):
            return name
    return None


class _OperationReader:
    """Reads one operation; only keeps the long argument lists short."""

    def __init__(self, document: _Document, path: str, method: str, raw: Mapping[str, Any], item: Mapping[str, Any], at: str) -> None:
        self._document, self._path, self._method, self._raw, self._item, self._at = document, path, method, raw, item, at

    def read(self, server: Server, bind: Mapping[str, str], flags: Mapping[str, bool]) -> Operation:
        arguments = self._parameters(server.headers) + self._body(bind)
        arguments = [replace(a, bound=_claim(a, bind)) for a in arguments]
        self._unambiguous(arguments)
        self._templates(arguments)
        name = self._name()
        summary = _plain_text(self._raw.get("summary")) or words_of(name).capitalize()
        return Operation(
            name=name,
            summary=summary,
            description=_plain_text(self._raw.get("description")),
            method=self._method,
            path=self._path,
            effect=Effect.READ if self._method in READING else Effect.WRITE,
            confirm=flags["confirm"],
            signed_in=flags["signed_in"],
            arguments=tuple(arguments),
            response=self._response(),
            server=server,
            derived=self._document.derived(self._raw, self._at),
            identifies=self._document.identifies(self._raw, self._method, self._at),
        )

    def _name(self) -> str:
        given = self._raw.get("operationId")
        if given is None:
            tail = re.sub(r"\{(\w+)\}", r"by_\1", self._path)
            given = f"{self._method}_{tail}"
        name = re.sub(r"[\W_]*\W[\W_]*", "_", str(given)).strip("_")
        if not re.match(r"[A-Za-z_]", name):
            raise self._bad("operationId", f"{given!r} is no name: begin with a letter")
        return name

    def _bad(self, where: str, what: str) -> BadToolSpec:
        return self._document.refuse(f"{self._at}.{where}", what)

    def _parameters(self, configured: Mapping[str, str]) -> list[Argument]:
        document = self._document
        rows: dict[tuple[str, str], Argument] = {}
        own = {n.lower() for n in configured} | _OWN_HEADERS
        for owner, base in ((self._item, self._at.rsplit(".", 1)[0]), (self._raw, self._at)):
            listed = owner.get("parameters", [])
            if not isinstance(listed, list):
                raise document.refuse(f"{base}.parameters", "must be a list")
            for index, node in enumerate(listed):
                where = f"{base}.parameters[{index}]"
                argument = self._parameter(node, where)
                if argument.where is Place.HEADER and argument.name.lower() in own:
                    continue
                key = argument.name.lower() if argument.where is Place.HEADER else argument.name
                rows[(argument.where, key)] = argument
        return list(rows.values())

    def _parameter(self, node: Any, where: str) -> Argument:
        document = self._document
        raw = document.mapping(document.follow(node, where), where)
        name, place = str(raw.get("name", "")), str(raw.get("in", ""))
        if not name:
            raise document.refuse(f"{where}.name", "is missing")
        if place not in ("path", "query", "header"):
            raise document.refuse(f"{where}.in", f"{place!r} is not supported: use path, query, header or a JSON body")
        if "content" in raw:
            raise document.refuse(f"{where}.content", "is not supported: describe the parameter with `schema`")
        if raw.get("style", "form" if place == "query" else "simple") not in ("form", "simple"):
            raise document.refuse(f"{where}.style", f"{raw['style']!r} is not supported: leave it out")
        schema = document.schema(raw.get("schema", {"type": "string"}), f"{where}.schema", strict=True)
        if schema["type"] == "object" or (schema["type"] == "array" and schema["items"]["type"] not in _SCALARS):
            raise document.refuse(f"{where}.schema.type", "is an object, which has no one form in an address: use a JSON body")
        description = _plain_text(raw.get("description")) or _plain_text(schema.get("description"))
        coded = schema["items"] if schema["type"] == "array" else schema
        if "enum" in coded and "x-labels" not in coded:
            coded |= _labelled(coded["enum"], raw, description)
        return Argument(
            name=name,
            where=Place(place),
            required=bool(raw.get("required", False)) or place == "path",
            schema=schema,
            description=description,
            example=_first_example(raw, schema),
            explode=bool(raw.get("explode", place == "query")),
        )

    def _body(self, bind: Mapping[str, str]) -> list[Argument]:
        document = self._document
        if "requestBody" not in self._raw:
            return []
        at = f"{self._at}.requestBody"
        if self._method in READING:
            raise document.refuse(at, "stands in an operation that only reads: use POST")
        raw = document.mapping(document.follow(self._raw["requestBody"], at), at)
        content = document.mapping(raw.get("content", {}), f"{at}.content")
        kind = next((k for k in content if _is_json(str(k))), None)
        if kind is None:
            raise document.refuse(f"{at}.content", f"holds {', '.join(map(str, content)) or 'nothing'}: offer application/json")
        where = f"{at}.content.{kind}.schema"
        media = document.mapping(content[kind], f"{at}.content.{kind}")
        schema = document.schema(media.get("schema", {"type": "object"}), where, strict=True)
        if schema["type"] != "object":
            raise document.refuse(f"{where}.type", f"is {schema['type']}: a body must be an object with named properties")
        return list(self._properties(schema, where, (), True, bind))

    def _properties(self, schema: Schema, where: str, outer: tuple[str, ...], needed: bool, bind: Mapping[str, str]) -> Iterator[Argument]:
        for name, member in schema.get("properties", {}).items():
            at = f"{where}.properties.{name}"
            if member.get("readOnly") is True:
                continue
            required = needed and name in schema.get("required", ())
            if member["type"] == "object":
                if not member.get("properties"):
                    raise self._document.refuse(at, "is an object without named properties: name them")
                yield from self._properties(member, at, (*outer, name), required, bind)
                continue
            if "." in name:
                raise self._document.refuse(at, "has a dot in its name, which stands for nesting here: rename it")
            hidden = sorted(set(_names_inside(member.get("items", {}))) & set(bind))
            if hidden:
                raise self._document.refuse(f"{at}.items", f"holds {hidden[0]!r}, which `bind` fills, inside a list: move it out")
            yield Argument(
                name=".".join((*outer, name)),
                where=Place.BODY,
                required=required,
                schema=member,
                description=_plain_text(member.get("description")),
                example=member.get("example"),
            )

    def _unambiguous(self, arguments: Sequence[Argument]) -> None:
        seen: dict[str, Place] = {}
        for argument in arguments:
            if argument.bound is not None:
                continue
            if argument.name in seen:
                raise self._bad(
                    f"parameters.{argument.name}",
                    f"stands in the {seen[argument.name]} and in the {argument.where}: rename one, or fill it with `bind`",
                )
            seen[argument.name] = argument.where

    def _templates(self, arguments: Sequence[Argument]) -> None:
        declared = {a.name for a in arguments if a.where is Place.PATH}
        used = set(re.findall(r"\{([^{}]+)\}", self._path))
        for name in sorted(used - declared):
            raise self._bad("parameters", f"lacks the path parameter {name!r}")
        for name in sorted(declared - used):
            raise self._bad("parameters", f"names the path parameter {name!r}, which the path does not hold")

    def _response(self) -> dict[str, Any]:
        document, responses = self._document, self._raw.get("responses", {})
        if not isinstance(responses, Mapping):
            return {}
        for status in sorted((str(k) for k in responses), key=lambda s: (s == "default", s)):
            if status[:1] != "2" and status != "default":
                continue
            at = f"{self._at}.responses.{status}"
            raw = responses.get(status, responses.get(int(status)) if status.isdigit() else None)
            body = document.follow(raw, at)
            content = body.get("content", {}) if isinstance(body, Mapping) else {}
            for kind, media in content.items():
                if _is_json(str(kind)) and isinstance(media, Mapping) and "schema" in media:
                    return document.schema(media["schema"], f"{at}.content.{kind}.schema", strict=False)
        return {}


def _labelled(values: Sequence[Any], node: Mapping[str, Any], description: str) -> dict[str, Any]:
    """The meanings of an enum's codes as `x-labels`; empty when the document tells none."""
    labels = labels_of(values, node, description)
    return {"x-labels": labels} if labels else {}


def _claim(argument: Argument, bind: Mapping[str, str]) -> str | None:
    """The claim that `bind` names for this argument: by full or innermost name, headers in any case."""
    for name, claim in bind.items():
        if argument.where is Place.HEADER:
            if argument.name.lower() == name.lower():
                return claim
        elif name in (argument.name, argument.name.rsplit(".", 1)[-1]):
            return claim
    return None


def _names_inside(schema: Schema) -> Iterator[str]:
    for name, member in schema.get("properties", {}).items():
        yield name
        yield from _names_inside(member)
    if "items" in schema:
        yield from _names_inside(schema["items"])


def _first_example(raw: Mapping[str, Any], schema: Schema) -> Any:
    if raw.get("example") is not None:
        return raw["example"]
    examples = raw.get("examples")
    if isinstance(examples, Mapping):
        for entry in examples.values():
            if isinstance(entry, Mapping) and "value" in entry:
                return entry["value"]
    return schema.get("example", schema.get("default"))


def _is_json(kind: str) -> bool:
    kind = kind.partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _plain_text(value: Any) -> str:
    return " ".join(str(value).split()) if value is not None else ""
