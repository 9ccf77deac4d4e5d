"""The business APIs behind the example tenants: invented customers, kept in memory, changed by what they do. For a demonstration only.

`uvicorn app:app --app-dir examples/business_api --host 127.0.0.1 --port 8901`; `frontdesk demo` starts it by itself. It believes whoever
reaches it, so it listens on this machine alone. `POST /reset` puts everything back.
"""

from __future__ import annotations

import copy
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from fastapi import APIRouter, FastAPI, Header, HTTPException, Request
from pydantic import BaseModel

START: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "data.yaml").read_text(encoding="utf-8"))
state: dict[str, Any] = copy.deepcopy(START)
done: dict[str, Any] = {}
"""What was answered to an idempotency key; the same key gets the same answer and changes nothing."""

app = FastAPI(title="Example business APIs", docs_url=None, redoc_url=None)
retail = APIRouter(prefix="/retail")
mortgage = APIRouter(prefix="/mortgage")
acme = APIRouter(prefix="/acme")


def person(line: str, customer: str) -> dict[str, Any]:
    """The record of one customer; 404 for anybody else."""
    found = state[line]["customers"].get(customer)
    if found is None:
        raise HTTPException(404, "no such customer")
    return dict(found)


def one(rows: list[dict[str, Any]], key: str, value: str, what: str) -> dict[str, Any]:
    """The row with that value; 404 when there is none."""
    row = next((r for r in rows if str(r[key]).casefold() == value.casefold()), None)
    if row is None:
        raise HTTPException(404, f"no such {what}")
    return row


def once(request: Request, act: Any) -> Any:
    """Runs an act once for each idempotency key."""
    key = request.headers.get("idempotency-key")
    if key and key in done:
        return done[key]
    answer = act()
    if key:
        done[key] = answer
    return answer


@app.get("/health")
async def health() -> dict[str, str]:
    """Alive."""
    return {"status": "ok"}


@app.post("/reset")
async def reset() -> dict[str, str]:
    """Everything as it was at the start."""
    state.clear()
    state.update(copy.deepcopy(START))
    done.clear()
    return {"status": "reset"}


# -- Meridian Retail Banking -------------------------------------------------------------------------------------------------------


@retail.get("/customers/{customer_id}/profile")
async def retail_profile(customer_id: str) -> dict[str, Any]:
    """Who the customer is."""
    found = person("retail", customer_id)
    return {k: found[k] for k in ("name", "account_kind", "customer_since")}


@retail.get("/customers/{customer_id}/balance")
async def balance(customer_id: str, account: str) -> dict[str, Any]:
    """Balance of one account."""
    accounts = person("retail", customer_id)["accounts"]
    if account not in accounts:
        raise HTTPException(404, f"there is no {account} account")
    return {"account": account, **accounts[account], "currency": "GBP"}


@retail.get("/customers/{customer_id}/transactions")
async def transactions(customer_id: str) -> dict[str, Any]:
    """The latest payments."""
    return {"transactions": person("retail", customer_id)["transactions"], "currency": "GBP"}


@retail.get("/customers/{customer_id}/cards")
async def cards(customer_id: str) -> dict[str, Any]:
    """Cards and their state."""
    return {"cards": person("retail", customer_id)["cards"]}


class Freeze(BaseModel):
    """Body of a freeze."""

    card: str


@retail.post("/customers/{customer_id}/card-freezes", status_code=201)
async def freeze(customer_id: str, body: Freeze, request: Request) -> Any:
    """Freezes a card."""
    card = one(person("retail", customer_id)["cards"], "card", body.card, "card")

    def act() -> dict[str, Any]:
        card["status"] = "frozen"
        return {"card": card["card"], "status": "frozen", "ends_with": card["ends_with"]}

    return once(request, act)


@retail.get("/exchange-rates")
async def exchange_rate(currency: str) -> dict[str, Any]:
    """Today's rate against the pound."""
    rates = state["retail"]["exchange_rates"]
    if currency not in rates:
        raise HTTPException(404, "this currency is not exchanged")
    return {"currency_bought": currency, "for_one_pound": rates[currency], "valid_until": "17:00"}


# -- Meridian Mortgages --------------------------------------------------------------------------------------------------------------


@mortgage.get("/customers/{customer_id}/credit-band")
async def credit_band(customer_id: str) -> dict[str, Any]:
    """The band that a customer's credit file gives."""
    return {"credit_band": person("mortgage", customer_id)["credit_band"]}


@mortgage.get("/quotes")
async def quote(loan_amount: float, term_years: int, credit_band: str) -> dict[str, Any]:
    """The rate of today for a loan."""
    rates = state["mortgage"]["rates"]
    if credit_band not in rates:
        raise HTTPException(422, f"credit_band must be one of {', '.join(rates)}")
    step = 0.15 if term_years > 30 else 0.0
    return {
        "deal": "5-year fixed",
        "rate": round(rates[credit_band] + step, 2),
        "product_fee": 999,
        "rate_valid_until": "2026-12-31",
        "currency": "GBP",
    }


@mortgage.get("/customers/{customer_id}/mortgage")
async def my_mortgage(customer_id: str) -> dict[str, Any]:
    """The running mortgage."""
    found = person("mortgage", customer_id).get("mortgage")
    if not found:
        raise HTTPException(404, "there is no mortgage yet")
    return {**found, "currency": "GBP"}


@mortgage.get("/customers/{customer_id}/applications")
async def applications(customer_id: str) -> dict[str, Any]:
    """Applications and where they stand."""
    return {"applications": person("mortgage", customer_id)["applications"]}


class Visit(BaseModel):
    """Body of a valuation booking."""

    day: date


@mortgage.post("/customers/{customer_id}/applications/{application_no}/valuation", status_code=201)
async def valuation(customer_id: str, application_no: str, body: Visit, request: Request) -> Any:
    """Books the valuer."""
    application = one(person("mortgage", customer_id)["applications"], "application_no", application_no, "application")
    if body.day < datetime.now(UTC).date() + timedelta(days=2):
        raise HTTPException(409, "valuers need two days' notice")

    def act() -> dict[str, Any]:
        application["valuation_day"] = body.day.isoformat()
        return {"application_no": application["application_no"], "valuation_day": body.day.isoformat(), "hours": "9:00 to 13:00"}

    return once(request, act)


# -- Acme Electronics --------------------------------------------------------------------------------------------------------------------


@acme.get("/customers/{customer_id}/profile")
async def acme_profile(customer_id: str) -> dict[str, Any]:
    """Who the customer is."""
    found = person("acme", customer_id)
    return {k: found[k] for k in ("name", "club", "town")}


@acme.get("/customers/{customer_id}/orders")
async def orders(customer_id: str) -> dict[str, Any]:
    """All orders."""
    return {"orders": person("acme", customer_id)["orders"], "currency": "EUR"}


@acme.get("/customers/{customer_id}/orders/{order_no}")
async def order(customer_id: str, order_no: str) -> dict[str, Any]:
    """One order."""
    return {**one(person("acme", customer_id)["orders"], "order_no", order_no, "order of yours"), "currency": "EUR"}


class Return(BaseModel):
    """Body of a return."""

    reason: str


@acme.post("/customers/{customer_id}/orders/{order_no}/return", status_code=201)
async def start_return(customer_id: str, order_no: str, body: Return, request: Request) -> Any:
    """Starts a return."""
    found = one(person("acme", customer_id)["orders"], "order_no", order_no, "order of yours")

    def act() -> dict[str, Any]:
        if found["status"] != "delivered":
            raise HTTPException(409, f"only delivered orders can be returned, and this one is {found['status']}")
        found["status"] = "being returned"
        return {
            "order_no": found["order_no"],
            "return_no": f"R-{found['order_no'][2:]}",
            "refund": found["total"],
            "label": "sent by e-mail",
            "currency": "EUR",
        }

    return once(request, act)


@acme.get("/warranties")
async def warranty(serial_no: str, x_customer_id: str = Header()) -> dict[str, Any]:
    """Warranty of a device that the customer owns."""
    return one(person("acme", x_customer_id)["devices"], "serial_no", serial_no, "device of yours")


@acme.get("/customers/{customer_id}/devices")
async def devices(customer_id: str) -> dict[str, Any]:
    """Devices that the customer registered."""
    return {"devices": person("acme", customer_id)["devices"]}


@acme.get("/products")
async def products(kind: str, brand: str | None = None, screen: str | None = None, max_price: float | None = None) -> dict[str, Any]:
    """Products that fit, and by what they can be narrowed down."""
    wanted = {"brand": brand, "screen": screen}
    fitting = [p for p in state["acme"]["products"] if p["kind"] == kind and all(v is None or p.get(k) == v for k, v in wanted.items())]
    fitting = [p for p in fitting if max_price is None or p["price"] <= max_price]
    facets = {k: sorted({p[k] for p in fitting if p.get(k)}) for k, v in wanted.items() if v is None}
    return {"count": len(fitting), "products": fitting, "facets": {k: v for k, v in facets.items() if len(v) > 1}, "currency": "EUR"}


for router in (retail, mortgage, acme):
    app.include_router(router)
