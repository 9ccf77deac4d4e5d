"""Who works at the desk and what they may do: viewers read, agents also answer customers, operators also edit and administer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from frontdesk.domain.tenancy import TenantId
from frontdesk.errors import NotAllowed


class StaffRole(StrEnum):
    """What somebody of the staff may do; each role may also do what those before it may."""

    VIEWER = "viewer"
    AGENT = "agent"
    OPERATOR = "operator"


class Right(StrEnum):
    """What an act takes."""

    READ = "read"
    ANSWER = "answer customers"
    LABEL = "judge conversations"
    KNOWLEDGE = "change what the desk knows"
    REHEARSE = "start rehearsals"
    TRAIN = "train and deploy models"
    KEYS = "make and revoke keys"
    STAFF = "change accounts"


_RANK = {role: place for place, role in enumerate(StaffRole)}
_NEEDS = {Right.READ: StaffRole.VIEWER, Right.ANSWER: StaffRole.AGENT, Right.LABEL: StaffRole.AGENT}


@dataclass(frozen=True, kw_only=True)
class Staff:
    """Somebody of the staff. `tenants` empty: all tenants of this installation."""

    name: str
    role: StaffRole
    tenants: frozenset[TenantId] = frozenset()

    def may(self, right: Right, tenant: TenantId | None = None) -> bool:
        """Whether the role includes this, for this tenant."""
        return _RANK[self.role] >= _RANK[_NEEDS.get(right, StaffRole.OPERATOR)] and (tenant is None or self.serves(tenant))

    def serves(self, tenant: TenantId) -> bool:
        """Whether this tenant is one of theirs."""
        return not self.tenants or tenant in self.tenants

    def require(self, right: Right, tenant: TenantId | None = None) -> None:
        """Raises NotAllowed with what to do."""
        if tenant is not None and not self.serves(tenant):
            raise NotAllowed(f"Your account does not cover {tenant}: ask an operator to add it.")
        if not self.may(right):
            need = _NEEDS.get(right, StaffRole.OPERATOR)
            raise NotAllowed(f"Your role ({self.role.value}) may not {right.value}: ask somebody with the role {need.value}.")
