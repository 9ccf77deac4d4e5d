"""Who is who: tenants, customers, keys and callers. Knows nothing of files, HTTP or the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, NewType

TenantId = NewType("TenantId", str)
CustomerId = NewType("CustomerId", str)
KeyId = NewType("KeyId", str)


class Role(StrEnum):
    """What an API key may do. `widget` talks; `server` also acts for signed-in customers; `operator` also administers."""

    WIDGET = "widget"
    SERVER = "server"
    OPERATOR = "operator"


@dataclass(frozen=True, kw_only=True)
class HandoffContact:
    """How a customer reaches a human of this tenant."""

    email: str = ""
    phone: str = ""
    hours: str = ""


@dataclass(frozen=True, kw_only=True)
class ToolSource:
    """One OpenAPI document of a tenant and where its operations live."""

    openapi: str
    """Path below the tenant's folder."""
    server: str = ""
    """Base URL; wins over the document's own `servers`."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """May hold `${VAR}`, filled from the environment when the tools are loaded."""
    bind: Mapping[str, str] = field(default_factory=dict)
    """Parameter name (header names in any case) -> `customer.id` or another verified claim."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """How tokens of this tenant's customers are verified. Empty issuer: only the desk's own development tokens."""

    issuer: str = ""
    audience: str = ""
    algorithms: tuple[str, ...] = ()
    jwks_url: str = ""
    secret_env: str = ""
    """Name of the environment variable that holds a shared secret (development only)."""
    sign_in_url: str = ""
    client_id: str = ""
    """What the issuer knows this desk as; then customers can sign in at `/sign-in/TENANT`."""
    client_secret_env: str = ""
    """Name of the environment variable that holds the client's secret; empty: a public client, which PKCE alone protects."""


@dataclass(frozen=True, kw_only=True)
class Retention:
    """How long conversations are kept after their last activity. None: until somebody asks for them to be erased."""

    days: int | None = None


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """One business line with its own knowledge, tools and customers, as read from its folder."""

    id: TenantId
    name: str
    description: str = ""
    persona: str = ""
    languages: tuple[str, ...] = ("en",)
    timezone: str = "UTC"
    handoff: HandoffContact = field(default_factory=HandoffContact)
    tools: tuple[ToolSource, ...] = ()
    lines: tuple[TenantId, ...] = ()
    """Business lines behind this front door; a message is routed to the line that knows the answer. Empty for an ordinary tenant."""
    identity: Identity = field(default_factory=Identity)
    retention: Retention = field(default_factory=Retention)
    profile: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, Any] = field(default_factory=dict)
    budget: Mapping[str, Any] = field(default_factory=dict)
    scoring: Mapping[str, Any] = field(default_factory=dict)
    guardrails: Mapping[str, Any] = field(default_factory=dict)
    demo: Mapping[str, Any] = field(default_factory=dict)
    """For `frontdesk demo`: `questions` to ask, `customers` to sign in as."""
    folder: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Caller:
    """An authenticated party: the tenant of its key and, when a customer token verified, the customer."""

    tenant: TenantId
    key: KeyId
    role: Role = Role.SERVER
    customer: CustomerId | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)
    """Verified token claims; `bind` reads from here and nowhere else."""
