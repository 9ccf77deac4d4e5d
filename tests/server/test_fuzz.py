"""Whatever the OpenAPI document allows, and much that it does not: never a 5xx, never an answer that the document does not describe."""

from __future__ import annotations

import os
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import adapter as _adapter  # noqa: F401 - here, since Python 3.11.2 cannot parse in two threads at once
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from frontdesk.domain.tenancy import Role

from .conftest import Served
from .test_who_may_do_what import PUBLIC, TABLE

CASES = int(os.environ.get("FRONTDESK_FUZZ_CASES", "5"))
"""Cases per operation; the nightly run sets more."""
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance]


@pytest.fixture(scope="module")
def document(one_server: Served) -> Any:
    one_server.office.front_office.forget()
    return schemathesis.openapi.from_url(f"{one_server.url}/openapi.json")


RUNS = [(route, GenerationMode.POSITIVE) for route in sorted([*TABLE, *PUBLIC])] + [
    (route, GenerationMode.NEGATIVE) for route in sorted(TABLE)
]


@pytest.mark.slow
@pytest.mark.parametrize(("route", "mode"), RUNS)
def test_no_request_breaks_the_server(document: Any, one_server: Served, route: tuple[str, str], mode: GenerationMode) -> None:
    method, path = route

    @settings(max_examples=CASES, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=document[path][method].as_strategy(generation_mode=mode))
    def holds(case: Any) -> None:
        case.call_and_validate(headers=_headers(one_server), checks=CHECKS, timeout=10)

    holds()


_known: dict[str, dict[str, str]] = {}


def _headers(served: Served) -> dict[str, str]:
    if not _known:
        head = {"Authorization": f"Bearer {served.key(role=Role.OPERATOR)}", "X-Customer-Token": served.token("cust-fuzz")}
        _known["operator"] = head
    return dict(_known["operator"])
