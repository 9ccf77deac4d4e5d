"""What a tenant's OpenAPI document becomes, and what of it is refused."""

from __future__ import annotations

import json
import textwrap
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tools.courier import TOKEN, tenant

from frontdesk.domain.tenancy import ToolSource
from frontdesk.errors import BadToolSpec
from frontdesk.tools.catalog import Catalog, Effect, Place, load_catalog, read_document

HEAD = "openapi: 3.1.0\ninfo: {title: T, version: '1'}\nservers: [{url: 'https://x.invalid'}]\npaths:\n"


def read(paths: str, **source: object) -> list[Any]:
    return list(read_document(HEAD + textwrap.indent(textwrap.dedent(paths), "  "), source=ToolSource(openapi="a.yaml", **source))[0])  # type: ignore[arg-type]


def refusal(paths: str, **source: object) -> str:
    with pytest.raises(BadToolSpec) as caught:
        read(paths, **source)
    return str(caught.value)


def named_or_read(text: str) -> bool:
    try:
        read_document(text, source=ToolSource(openapi="a.yaml"))
    except BadToolSpec as error:
        return str(error).startswith("a.yaml")
    return True


def names(catalog: Catalog, operation: str) -> list[str]:
    return [a.name for a in catalog.get(operation).askable]  # type: ignore[union-attr]


def test_gets_read_and_the_rest_write(catalog: Catalog) -> None:
    effects = {o.name: o.effect for o in catalog}
    assert effects["trackParcel"] is Effect.READ
    assert effects["bookCollection"] is Effect.WRITE


def test_confirmation_comes_from_the_extension(catalog: Catalog) -> None:
    assert [o.name for o in catalog if o.confirm] == ["bookCollection"]


def test_bound_parameters_are_hidden_in_path_and_header_in_any_case(catalog: Catalog) -> None:
    assert names(catalog, "listShipments") == []
    assert names(catalog, "getInvoice") == ["month"]
    assert [a.bound for a in catalog.get("getInvoice").bound] == ["customer.id"]  # type: ignore[union-attr]


def test_body_properties_are_flattened_through_all_of_and_nesting(catalog: Catalog) -> None:
    assert names(catalog, "bookCollection") == ["day", "parcels", "address.street", "address.postcode", "note"]
    street = catalog.get("bookCollection").argument("address.street")  # type: ignore[union-attr]
    assert street is not None
    assert not street.required


def test_an_optional_value_written_as_anyof_null_is_one_plain_type(catalog: Catalog) -> None:
    note = catalog.get("bookCollection").argument("note")  # type: ignore[union-attr]
    assert note is not None
    assert (note.type, note.schema["maxLength"], note.where) == ("string", 80, Place.BODY)


def test_references_in_response_schemas_are_followed(catalog: Catalog) -> None:
    assert catalog.get("trackParcel").response["properties"]["price"]["properties"]["currency"] == {"type": "string"}  # type: ignore[union-attr]


def test_the_tenants_server_wins_over_the_documents(catalog: Catalog) -> None:
    assert catalog.get("trackParcel").server.url == "https://api.courier.invalid/v2"  # type: ignore[union-attr]
    own = load_catalog(tenant(server=""), {"COURIER_TOKEN": TOKEN})
    assert own.get("trackParcel").server.url == "https://courier.invalid/v1"  # type: ignore[union-attr]


def test_an_unset_variable_switches_tools_off_and_names_itself() -> None:
    off = load_catalog(tenant(), {})
    assert "COURIER_TOKEN is not set" in off.disabled
    assert off.usable == ()
    assert len(off) == 6


def test_secrets_never_show_in_a_repr(catalog: Catalog) -> None:
    assert TOKEN not in repr(catalog)
    assert TOKEN in catalog.get("trackParcel").server.headers["Authorization"]  # type: ignore[union-attr]


def test_bind_is_silent_about_names_that_do_not_exist() -> None:
    assert len(load_catalog(tenant(bind={"nobody": "customer.id"}), {"COURIER_TOKEN": TOKEN})) == 6


def test_a_name_without_operation_id_is_derived() -> None:
    (operation,) = read("/a/{b}/c:\n  get:\n    parameters: [{name: b, in: path, required: true, schema: {type: string}}]")
    assert operation.name == "get_a_by_b_c"


def test_an_ignored_operation_may_hold_anything() -> None:
    assert read("/a:\n  get:\n    x-frontdesk: {ignore: true}\n    parameters: [{name: c, in: cookie}]") == []


def test_yaml_words_and_dates_stay_text() -> None:
    (operation,) = read(
        "/a:\n  get:\n    parameters: [{name: c, in: query, example: 2027-01-05, schema: {type: string, enum: [no, yes, on, NO]}}]"
    )
    assert operation.arguments[0].enum == ("no", "yes", "on", "NO")
    assert operation.arguments[0].example == "2027-01-05"


def test_alternatives_of_constants_become_an_enum_with_labels() -> None:
    (operation,) = read(
        "/a:\n  get:\n    parameters: [{name: c, in: query, schema: {oneOf: [{const: 1, title: One}, {const: 2, title: Two}]}}]"
    )
    assert operation.arguments[0].enum == (1, 2)
    assert operation.arguments[0].schema["x-labels"] == {"1": "One", "2": "Two"}


def test_headers_that_the_tenant_configures_are_not_asked_for() -> None:
    (operation,) = read(
        "/a:\n  get:\n    parameters: [{name: X-Key, in: header, required: true, schema: {type: string}}]", headers={"x-key": "k"}
    )
    assert operation.arguments == ()


PARAMETER = "/x:\n  get:\n    parameters: [{name: a, in: query, schema: {type: string}}, %s]"
BODY = "/x:\n  post:\n    requestBody: {content: {%s}}"


@pytest.mark.parametrize(
    ("paths", "place"),
    [
        (PARAMETER % "{name: b, in: query, schema: {oneOf: [{type: string}, {type: integer}]}}", "paths./x.get.parameters[1].schema.oneOf"),
        (PARAMETER % "{name: b, in: cookie, schema: {type: string}}", "paths./x.get.parameters[1].in"),
        (PARAMETER % "{name: b, in: query, schema: {type: object}}", "paths./x.get.parameters[1].schema.type"),
        (PARAMETER % "{name: b, in: query, schema: {}}", "paths./x.get.parameters[1].schema has no type"),
        (PARAMETER % "{name: b, in: query, style: deepObject, schema: {type: string}}", "paths./x.get.parameters[1].style"),
        (PARAMETER % "{name: b, in: query, schema: {type: [string, integer]}}", "paths./x.get.parameters[1].schema.type"),
        (PARAMETER % "{name: b, in: query, schema: {type: string, pattern: '('}}", "paths./x.get.parameters[1].schema.pattern"),
        (PARAMETER % "{name: b, in: query, schema: {type: string, pattern: '^(a+)+$'}}", "paths./x.get.parameters[1].schema.pattern"),
        (PARAMETER % "{$ref: 'other.yaml#/a'}", "paths./x.get.parameters[1].$ref"),
        (PARAMETER % "{$ref: '#/components/parameters/Gone'}", "paths./x.get.parameters[1].$ref"),
        (PARAMETER % "{name: b, in: path, required: true, schema: {type: string}}", "paths./x.get.parameters"),
        ("/x/{y}:\n  get: {}", "paths./x/{y}.get.parameters"),
        (BODY % "text/xml: {schema: {type: string}}", "paths./x.post.requestBody.content"),
        (BODY % "application/json: {schema: {type: array, items: {type: string}}}", "content.application/json.schema.type"),
        (BODY % "application/json: {schema: {type: object, properties: {a: {not: {}}}}}", "schema.properties.a.not"),
        (BODY % "application/json: {schema: {allOf: [{type: object}, {type: string}]}}", "schema.allOf[1].type"),
        ("/x:\n  get: {operationId: same}\n/y:\n  get: {operationId: same}", "paths./y.get.operationId"),
        ("/x:\n  get:\n    x-frontdesk: {confrim: true}", "paths./x.get.x-frontdesk.confrim"),
        ("x:\n  get: {}", "paths.x"),
    ],
)
def test_what_is_ambiguous_or_unsupported_is_refused_at_its_place(paths: str, place: str) -> None:
    message = refusal(paths)
    assert place in message
    assert message.startswith("a.yaml: ")


def test_a_recursive_request_is_refused() -> None:
    itself = "{$ref: '#/paths/~1x/post/requestBody/content/application~1json/schema'}"
    text = BODY % f"application/json: {{schema: {{type: object, properties: {{a: {itself}}}}}}}"
    assert "leads back to itself" in refusal(text)


def test_a_recursive_response_is_read_as_far_as_it_goes() -> None:
    document = """
    /x:
      get:
        responses:
          '200':
            content:
              application/json:
                schema:
                  type: object
                  properties:
                    id: {type: integer}
                    parent: {$ref: '#/paths/~1x/get/responses/200/content/application~1json/schema'}
    """
    (operation,) = read(document)
    assert operation.response["properties"]["id"] == {"type": "integer"}


def test_a_bound_name_inside_a_list_is_refused() -> None:
    row = "{type: object, properties: {who: {type: string}}}"
    body = f"application/json: {{schema: {{type: object, properties: {{rows: {{type: array, items: {row}}}}}}}}}"
    assert "which `bind` fills, inside a list" in refusal(BODY % body, bind={"who": "customer.id"})


def test_a_name_in_two_places_is_refused_unless_bound() -> None:
    paths = """
    /x/{id}:
      put:
        parameters: [{name: id, in: path, required: true, schema: {type: string}}]
        requestBody: {content: {application/json: {schema: {type: object, properties: {id: {type: string}}}}}}
    """
    assert "stands in the path and in the body" in refusal(paths)
    (operation,) = read(paths, bind={"id": "customer.id"})
    assert len(operation.bound) == 2


def test_a_key_that_stands_twice_is_refused_with_its_line() -> None:
    assert "a.yaml:7" in refusal("/x:\n  get: {}\n/x:\n  get: {}")


def test_a_document_outside_the_tenants_folder_is_refused() -> None:
    with pytest.raises(BadToolSpec, match="outside the tenant's folder"):
        load_catalog(tenant(document="../../pyproject.toml"), {})


def test_a_schema_bomb_is_refused_quickly() -> None:
    pair = "{{type: object, properties: {{a: {0}, b: {0}}}}}"
    levels = "\n".join(f"    s{i}: " + pair.format(f"{{$ref: '#/components/schemas/s{i + 1}'}}") for i in range(40))
    text = (
        f"openapi: 3.1.0\nservers: [{{url: 'https://x.invalid'}}]\ncomponents:\n  schemas:\n{levels}\n    s40: {{type: string}}\n"
        "paths:\n  /x:\n    post:\n      requestBody: {content: {application/json: {schema: {$ref: '#/components/schemas/s0'}}}}\n"
    )
    start = time.process_time()
    with pytest.raises(BadToolSpec, match="too many parts"):
        read_document(text, source=ToolSource(openapi="a.yaml"))
    assert time.process_time() - start < 5


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_either_read_or_refused_by_name(text: str) -> None:
    assert named_or_read(text)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "get",
                    "post",
                    "parameters",
                    "schema",
                    "$ref",
                    "type",
                    "items",
                    "properties",
                    "allOf",
                    "in",
                    "name",
                    "required",
                    "requestBody",
                    "content",
                    "application/json",
                    "enum",
                    "/a",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(_json)
def test_any_paths_object_is_either_read_or_refused_by_name(paths: object) -> None:
    text = json.dumps({"openapi": "3.1.0", "servers": [{"url": "https://x.invalid"}], "paths": {"/a": paths}})
    assert named_or_read(text)
