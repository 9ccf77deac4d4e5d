"""Two invented trades for played conversations: a marina (header-bound customers, nested bodies, coded enums) and a veterinary practice.

Each is a tenant's folder below `trades/` and an API here that keeps its records and a log. Nothing of the desk knows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

Answer = tuple[int, Any]
_HARBOURS = {"ASH": "Ashcombe Quay", "BRI": "Brinmouth", "COL": "Colne Pool"}


def _gbp(value: float) -> dict[str, Any]:
    return {"value": value, "currency": "GBP"}


@dataclass(kw_only=True)
class Trade:
    """An API with its records and its log of calls: method, path, arguments."""

    log: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def answer(self, method: str, path: str, arguments: dict[str, Any], key: str) -> Answer:
        self.log.append((method, path, arguments))
        return self._answer(method, unquote(path).strip("/").split("/"), arguments)

    def acts(self) -> list[tuple[str, str, dict[str, Any]]]:
        return [row for row in self.log if row[0] != "GET"]

    def set(self, values: Mapping[str, Any]) -> None:
        """Changes fields between two turns."""
        for name, value in values.items():
            setattr(self, name, value)

    def _answer(self, method: str, parts: list[str], arguments: dict[str, Any]) -> Answer:
        raise NotImplementedError  # each trade answers for itself


def _contracts() -> dict[str, Any]:
    return {
        "SM-2041": ("A-17", "Ashcombe Quay", "Petrel", 9.4, "2027-03-31", 4180.0, 1045.0),
        "SM-3055": ("C-02", "Colne Pool", "Grey Heron", 12.1, "2027-08-31", 6320.0, 0.0),
    }


def _invoices() -> dict[str, list[dict[str, Any]]]:
    def row(no: str, what: str, issued: str, due: str, value: float, state: str) -> dict[str, Any]:
        return {"invoice_no": no, "what": what, "issued_on": issued, "due_on": due, "amount": _gbp(value), "state": state}

    return {
        "SM-2041": [
            row("INV-8803", "Third instalment", "2026-10-20", "2026-11-27", 1045.0, "DUE"),
            row("INV-8710", "Shore power", "2026-10-02", "2026-10-16", 37.8, "PAID"),
            row("INV-8544", "Second instalment", "2026-07-20", "2026-08-20", 1045.0, "PAID"),
        ],
        "SM-3055": [row("INV-8811", "Pressure wash", "2026-11-02", "2026-11-16", 96.0, "OVERDUE")],
    }


def _lifts() -> dict[str, list[dict[str, Any]]]:
    return {
        "SM-2041": [
            {"lift_no": "LO40012", "service": "LIFT_WASH", "on": "2026-12-01", "slot": "AM", "state": "booked", "price": _gbp(238.5)},
            {"lift_no": "LO40055", "service": "LIFT", "on": "2027-03-09", "slot": "PM", "state": "booked", "price": _gbp(164.0)},
        ],
        "SM-3055": [],
    }


@dataclass(kw_only=True)
class Marina(Trade):
    """Three harbours."""

    waiting: int = 4
    diesel: float = 1.37
    contracts: dict[str, Any] = field(default_factory=_contracts)
    invoices: dict[str, list[dict[str, Any]]] = field(default_factory=_invoices)
    lifts: dict[str, list[dict[str, Any]]] = field(default_factory=_lifts)

    def _answer(self, method: str, parts: list[str], arguments: dict[str, Any]) -> Answer:
        if parts[0] == "my":
            return self._own(method, parts[1:], arguments, arguments.get("x-berth-holder", ""))
        harbour = _HARBOURS.get(str(arguments.get("harbour")))
        if harbour is None:
            return 422, {"detail": "unknown harbour"}
        hour = {"A": 6, "B": 8, "C": 9}[harbour[0]]
        if parts[0] == "tides":
            high = [{"at": f"0{hour}:14", "metres": 5.3}, {"at": f"{hour + 12}:41", "metres": 5.1}]
            low = [{"at": "00:02", "metres": 0.9}, {"at": "12:27", "metres": 1.1}]
            return 200, {"harbour": harbour, "on": arguments.get("on", "2026-11-20"), "high_water": high, "low_water": low}
        if parts[0] == "fuel-dock":
            queue = self.waiting if harbour == "Brinmouth" else 0
            return 200, {"harbour": harbour, "boats_waiting": queue, "diesel": self.diesel, "petrol": 1.61, "open_until": "18:30"}
        if parts[0] == "berths":
            rows = [
                {"berth": "V-3", "pontoon": "Visitor north", "shore_power": True, "nightly": _gbp(34.5)},
                {"berth": "V-9", "pontoon": "Visitor south", "shore_power": False, "nightly": _gbp(28.0)},
            ]
            rows = rows if float(arguments["length_m"]) <= 15 else []
            return 200, {"data": rows, "page": {"number": 1, "total": len(rows), "next": None}}
        if parts[0] == "visits":
            return 201, {"visit_no": "VS-771", "harbour": harbour, "arrival": arguments["arrival"]}
        return 404, {"detail": "not found"}

    def _own(self, method: str, parts: list[str], arguments: dict[str, Any], holder: str) -> Answer:
        if holder not in self.contracts:
            return 404, {"detail": "unknown berth holder"}
        if parts[0] == "contract":
            code, harbour, boat, length, ends, fee, balance = self.contracts[holder]
            contract = {
                "berth": {"code": code, "harbour": harbour},
                "boat": {"name": boat, "length_m": length},
                "term": {"starts": "2026-04-01", "ends": ends},
                "yearly_fee": _gbp(fee),
                "open_balance": _gbp(balance),
            }
            return 200, {"contract": contract}
        if parts[0] == "invoices":
            rows = [r for r in self.invoices[holder] if arguments.get("state") in (None, r["state"])]
            return 200, {"items": rows, "next_cursor": None}
        lifts = self.lifts[holder]
        if method == "GET":
            return 200, lifts
        if method == "POST":
            when = arguments["when"]
            made = {"lift_no": "LO40099", "service": arguments["service"], "on": when["day"], "slot": when["slot"]}
            return 201, {**made, "state": "booked", "price": _gbp(238.5)}
        found = next((row for row in lifts if row["lift_no"] == parts[1]), None)
        return (200, {**found, "state": "cancelled"}) if found else (404, {"detail": "no such lift-out"})


def _owners() -> dict[str, dict[str, Any]]:
    def pet(no: str, name: str, species: str, age: int, weight: float, due: str) -> dict[str, Any]:
        return {"pet_id": no, "name": name, "species": species, "age_years": age, "weight_kg": weight, "next_vaccination": due}

    return {
        "O-61": {
            "pets": [pet("P1", "Biscuit", "dog", 6, 18.4, "2027-02-11"), pet("P2", "Olive", "cat", 3, 4.1, "2026-12-05")],
            "appointments": [
                {
                    "appointment_id": "A-410",
                    "pet": "Biscuit",
                    "starts_at": "2026-11-24T09:20:00",
                    "vet": "Dr Amin",
                    "reason": "dental check",
                },
                {"appointment_id": "A-455", "pet": "Olive", "starts_at": "2026-12-05T16:00:00", "vet": "Dr Lund", "reason": "vaccination"},
            ],
            "account": {"owed": 86.4, "last_payment": 120.0, "last_payment_on": "2026-09-30", "plan": "Pet Plan", "allowance_left": 42.0},
            "prescriptions": [
                {"rx_no": "RX1001", "pet": "Biscuit", "medicine": "Jointease", "refills_left": 2, "expires_on": "2027-05-01"},
                {"rx_no": "RX1002", "pet": "Olive", "medicine": "Thyronorm", "refills_left": 0, "expires_on": "2026-12-31"},
            ],
        },
        "O-72": {
            "pets": [pet("P8", "Dumpling", "rabbit", 2, 2.2, "2027-01-15")],
            "appointments": [],
            "account": {"owed": 0.0, "last_payment": 38.0, "last_payment_on": "2026-11-03", "plan": "none", "allowance_left": 0.0},
            "prescriptions": [],
        },
    }


@dataclass(kw_only=True)
class Vets(Trade):
    """Three surgeries."""

    minutes: int = 25
    packs: int = 14
    owners: dict[str, dict[str, Any]] = field(default_factory=_owners)

    def _answer(self, method: str, parts: list[str], arguments: dict[str, Any]) -> Answer:
        if parts[0] == "owners":
            owner = self.owners.get(parts[1])
            if owner is None:
                return 404, {"detail": "unknown owner"}
            rows = owner[parts[2]]
            return 200, {parts[2]: rows} if parts[2] in ("appointments", "prescriptions") else rows
        if parts[0] == "slots":
            fee = {"check_up": 54.0, "vaccination": 61.0, "dental": 75.0, "nurse": 12.0}[arguments["visit"]]
            return 200, [
                {"slot_id": "S1", "at": "10:40", "vet": "Dr Amin", "fee": fee},
                {"slot_id": "S2", "at": "15:10", "vet": "Dr Lund", "fee": fee},
            ]
        if parts[0] == "waiting":
            quiet = arguments["surgery"] == "riverside"
            return 200, {"surgery": arguments["surgery"], "minutes": 5 if quiet else self.minutes, "emergency_vet": not quiet}
        if parts[0] == "medicines":
            known = {"wormaway": (self.packs, 18.9), "jointease": (0, 33.5)}
            found = known.get(parts[1].lower())
            return (200, {"medicine": parts[1], "packs": found[0], "price": found[1]}) if found else (404, {"detail": "unknown"})
        if parts[0] == "refills":
            return 201, {"order_no": "R-9", "ready_on": "2026-11-23", "total": 33.5 * arguments["packs"]}
        if parts[0] == "appointments":
            return self._moved(method, parts[1], arguments)
        if parts[0] == "reminders":
            return 201, {"phone": arguments["phone"], "days_before": arguments["days_before"]}
        return 404, {"detail": "not found"}

    def _moved(self, method: str, no: str, arguments: dict[str, Any]) -> Answer:
        mine = self.owners.get(arguments["owner_id"], {}).get("appointments", [])
        row = next((r for r in mine if r["appointment_id"] == no), None)
        if row is None:
            return 404, {"detail": "no such appointment"}
        if method == "DELETE":
            return 200, {"appointment_id": no, "state": "cancelled"}
        return 200, {"appointment_id": no, "pet": row["pet"], "starts_at": arguments["starts_at"]}
