"""One operation of a tenant's API and its arguments, as frozen words. Knows nothing of OpenAPI, HTTP or models."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property, lru_cache, wraps
from typing import Any, TypeVar

Schema = Mapping[str, Any]
Handler = Callable[[Mapping[str, Any]], Awaitable[Any]]
"""What a built-in operation runs: checked arguments in, plain JSON values out."""
Thing = TypeVar("Thing")
Said = TypeVar("Said")


def once(function: Callable[[Thing], Said]) -> Callable[[Thing], Said]:
    """A function of one frozen thing (`Argument`, `Operation`) that is worked out once for each and kept with it."""
    name = f"{function.__module__}.{function.__qualname__}"

    @wraps(function)
    def known(thing: Thing) -> Said:
        kept = thing.__dict__
        if name not in kept:
            kept[name] = function(thing)
        said: Said = kept[name]
        return said

    return known


class Place(StrEnum):
    """Where an argument travels."""

    PATH = "path"
    QUERY = "query"
    HEADER = "header"
    BODY = "body"


class Effect(StrEnum):
    """READ changes nothing and may be repeated; WRITE acts."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, kw_only=True)
class Argument:
    """One value that an operation takes. `schema` is resolved: no references, one type, `enum`, `pattern`, `minimum` and the like."""

    name: str
    """As the document says; a nested body property is `outer.inner`. Unique among an operation's askable arguments."""
    where: Place
    required: bool = False
    schema: Schema = field(default_factory=dict)
    description: str = ""
    example: Any = None
    bound: str | None = None
    """Claim that fills it (`customer.id`); then neither model nor customer can set or see it."""
    explode: bool = True
    """Lists in a query: repeated (`a=1&a=2`) or, when false, joined by commas."""

    @cached_property
    def type(self) -> str:
        """`string`, `integer`, `number`, `boolean` or `array`."""
        return str(self.schema.get("type", "string"))

    @cached_property
    def format(self) -> str:
        """`date`, `date-time`, `time`, `email` and the like; empty when the document names none."""
        return str(self.schema.get("format", ""))

    @cached_property
    def enum(self) -> tuple[Any, ...]:
        """The allowed values, for a list those of its items; empty when free."""
        values = self.schema.get("enum") or self.schema.get("items", {}).get("enum") or ()
        return tuple(v for v in values if v is not None)

    @cached_property
    def pattern(self) -> str:
        """Regular expression of a string or of a list's items; empty when there is none."""
        return str(self.schema.get("pattern") or self.schema.get("items", {}).get("pattern") or "")

    @cached_property
    def each(self) -> str:
        """For a list: the other list of the same operation that it gives one value for each of; empty when it stands alone."""
        return str(self.schema.get("x-each", ""))

    @cached_property
    def label(self) -> str:
        """The name in words: `spent_on` -> `spent on`."""
        return str(self.schema.get("title") or words_of(self.name)).lower()


@dataclass(frozen=True, kw_only=True)
class Server:
    """Where operations live. What may hold secrets never shows in a repr."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Values that came from the environment; blanked wherever an answer echoes them."""


@dataclass(frozen=True, kw_only=True)
class Derived:
    """A value that is worked out from an answer by `calculate`: `payment({amount}, {rate}, {years})`, of arguments and fields."""

    label: str
    expression: str
    currency: str = ""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One thing that can be asked of, or done at, a tenant's API; or built in (`run`)."""

    name: str
    summary: str
    description: str = ""
    method: str = "get"
    path: str = "/"
    effect: Effect = Effect.READ
    confirm: bool = False
    signed_in: bool = False
    arguments: tuple[Argument, ...] = ()
    response: Schema = field(default_factory=dict)
    """Schema of a successful answer, references resolved; empty when the document gives none."""
    server: Server = field(default_factory=lambda: Server(url=""))
    derived: tuple[Derived, ...] = ()
    identifies: str = ""
    """Field of its answer that says who the customer is, for a tenant whose customers need no sign-in; empty for all other operations."""
    run: Handler | None = field(default=None, repr=False, compare=False)
    say: Callable[[Mapping[str, Any]], str] | None = field(default=None, repr=False, compare=False)
    """How a built-in operation's answer reads, as sentences."""

    @property
    def writes(self) -> bool:
        """True when calling it changes something."""
        return self.effect is Effect.WRITE

    @cached_property
    def askable(self) -> tuple[Argument, ...]:
        """What the model may propose and a customer may be asked: everything that is not bound and not a constant."""
        return tuple(a for a in self.arguments if a.bound is None and "const" not in a.schema)

    @cached_property
    def bound(self) -> tuple[Argument, ...]:
        """What only verified claims fill."""
        return tuple(a for a in self.arguments if a.bound is not None)

    @cached_property
    def required(self) -> tuple[Argument, ...]:
        """Askable arguments without which it cannot be called."""
        return tuple(a for a in self.askable if a.required)

    @property
    def needs_customer(self) -> bool:
        """True when nothing may be called without a verified customer."""
        return self.signed_in or bool(self.bound)

    def argument(self, name: str) -> Argument | None:
        """The askable argument of that name."""
        return next((a for a in self.askable if a.name == name), None)


@lru_cache(maxsize=8192)
def words_of(name: str) -> str:
    """A field name in words: `nextDepartureGate`, `next_departure_gate` and `X-Next-Gate` become lower-case words."""
    text = re.sub(r"[_\-.\[\]/]+", " ", name)
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", text)
    return " ".join(text.split()).lower().removeprefix("x ")
