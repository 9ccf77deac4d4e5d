"""Why a human was needed, as it is counted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from frontdesk.desk.handoff import GIVES_UP, Category, hand_off
from frontdesk.domain.conversation import Conversation, ConversationId
from frontdesk.domain.tenancy import HandoffContact, Tenant, TenantId

TENANT = Tenant(id=TenantId("t"), name="Tern Ferries", handoff=HandoffContact(email="desk@tern.example"))
FRESH = Conversation(id=ConversationId("c"), tenant=TENANT.id, customer=None, opened_at=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(("failures", "counted"), [(0, "requested"), (GIVES_UP - 1, "requested"), (GIVES_UP, "repeated_failure")])
def test_a_wish_for_a_human_after_two_failures_is_counted_as_repeated_failure(failures: int, counted: str) -> None:
    handed = hand_off(TENANT, replace(FRESH, failures=failures), "a person, please", Category.REQUESTED)
    assert handed.category == counted
    assert "desk@tern.example" in handed.promised


def test_another_reason_stays_the_reason_whatever_failed_before() -> None:
    assert hand_off(TENANT, replace(FRESH, failures=5), "There is a fire", Category.EMERGENCY).category == "emergency"
