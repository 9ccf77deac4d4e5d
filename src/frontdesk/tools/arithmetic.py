"""Exact arithmetic on an expression in text: decimals, percentages, loan and interest formulas. Never `eval`; refuses what is too large.

`12% of 80`, `payment(250000, 4.5, 25)` (loan, yearly rate in percent, years; per month), `compound(1000, 3, 10)`, `round(x, 2)`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Context, Decimal, DecimalException, localcontext

from frontdesk.errors import BadInput

MAX_CHARS = 300
MAX_DEPTH = 40
MAX_SIZE = Decimal(10) ** 30
_TOKEN = re.compile(r"\s*(?:(?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.?\d*|\.\d+)|(?P<name>[A-Za-z_]+)|(?P<op>\*\*|[-+*/^%(),×÷−]))")
_SIGNS = re.compile(r"[€£$¥₹]")


def calculate(expression: str) -> Decimal:
    """The value of an expression, to 28 digits. Raises BadInput with a sentence that says what is wrong."""
    if len(expression) > MAX_CHARS:
        raise BadInput(f"the expression has more than {MAX_CHARS} characters: shorten it")
    with localcontext(Context(prec=28, Emax=60, Emin=-60)):
        try:
            return _Parser(expression).value()
        except DecimalException:
            raise BadInput("the expression has no result: it divides by zero or grows too large") from None


def shown(value: Decimal) -> str:
    """The value without needless zeros, at most ten decimals: `1204.11`, `0.3333333333`."""
    with localcontext(Context(prec=60)):
        text = format(value.quantize(Decimal("0.0000000001"), rounding=ROUND_HALF_UP), "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def payment(principal: Decimal, rate: Decimal, years: Decimal, per_year: Decimal = Decimal(12)) -> Decimal:
    """The level payment of a loan, each period: `principal` at `rate` percent a year over `years`. To the cent."""
    periods = years * per_year
    if principal < 0 or rate < 0 or periods <= 0 or periods > 2_400:
        raise BadInput("a loan needs a positive amount, a rate of at least 0 and a term of 1 to 200 years")
    step = rate / 100 / per_year
    each = principal / periods if step == 0 else principal * step / (1 - (1 + step) ** -periods)
    return each.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)


def compound(principal: Decimal, rate: Decimal, years: Decimal, per_year: Decimal = Decimal(1)) -> Decimal:
    """What `principal` grows to at `rate` percent a year, compounded `per_year` times. To the cent."""
    if abs(rate) > 1_000 or not 0 <= years <= 200 or not 1 <= per_year <= 366:
        raise BadInput("compound interest needs a rate up to 1000 %, 0 to 200 years and 1 to 366 periods a year")
    grown = principal * (1 + rate / 100 / per_year) ** (years * per_year)
    return grown.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)


def _percent(part: Decimal, whole: Decimal) -> Decimal:
    return part / whole * 100


def _rounded(value: Decimal, places: Decimal = Decimal(0)) -> Decimal:
    if not 0 <= places <= 20 or places != places.to_integral_value():
        raise BadInput("round() takes 0 to 20 places")
    return value.quantize(Decimal(1).scaleb(-int(places)), rounding=ROUND_HALF_UP)


_FUNCTIONS: Mapping[str, tuple[Callable[..., Decimal], int, int]] = {
    "payment": (payment, 3, 4),
    "compound": (compound, 3, 4),
    "percent": (_percent, 2, 2),
    "round": (_rounded, 1, 2),
    "min": (min, 1, 20),
    "max": (max, 1, 20),
    "abs": (abs, 1, 1),
    "sqrt": (Decimal.sqrt, 1, 1),
}


class _Parser:
    """Recursive descent: sum, product, power, sign, percent, atom."""

    def __init__(self, text: str) -> None:
        self._text = text
        clean = _SIGNS.sub("", text).replace("×", "*").replace("÷", "/").replace("−", "-")
        self._tokens: list[tuple[str, str]] = []
        position = 0
        clean = clean.rstrip()
        while position < len(clean):
            match = _TOKEN.match(clean, position)
            if match is None:
                raise BadInput(f"the expression {text!r} holds {clean[position : position + 5]!r}, which is no number and no operator")
            self._tokens.append((match.lastgroup or "", match[match.lastgroup or 0]))
            position = match.end()
        self._at = 0
        self._depth = 0

    def value(self) -> Decimal:
        result = self._sum()
        if self._at < len(self._tokens):
            raise BadInput(f"the expression {self._text!r} goes on after it is complete, at {self._tokens[self._at][1]!r}")
        return result

    def _peek(self, *wanted: str) -> bool:
        return self._at < len(self._tokens) and self._tokens[self._at][1] in wanted

    def _take(self, *wanted: str) -> str:
        if not self._peek(*wanted):
            raise BadInput(f"the expression {self._text!r} lacks {wanted[0]!r}")
        self._at += 1
        return self._tokens[self._at - 1][1]

    def _sum(self) -> Decimal:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise BadInput("the expression is nested too deeply")
        left = self._product()
        while self._peek("+", "-"):
            operator = self._take("+", "-")
            percent_before = self._at
            right = self._product()
            if self._is_percent(percent_before):
                right = left * right  # 80 + 20 % is 96, as people and pocket calculators mean it
            left = left + right if operator == "+" else left - right
        self._depth -= 1
        return self._sized(left)

    def _is_percent(self, start: int) -> bool:
        tokens = self._tokens[start : self._at]
        return len(tokens) == 2 and tokens[0][0] == "number" and tokens[1][1] == "%"

    def _product(self) -> Decimal:
        left = self._power()
        while self._peek("*", "/", "of", "x"):
            operator = self._take("*", "/", "of", "x")
            right = self._power()
            left = left / right if operator == "/" else left * right
            self._sized(left)
        return left

    def _power(self) -> Decimal:
        base = self._signed()
        if self._peek("^", "**"):
            self._take("^", "**")
            exponent = self._power()
            if abs(exponent) > 1_000:
                raise BadInput("the expression has an exponent above 1000")
            base = self._sized(base**exponent)
        return base

    def _signed(self) -> Decimal:
        if self._peek("-", "+"):
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise BadInput("the expression is nested too deeply")
            value = -self._power() if self._take("-", "+") == "-" else self._power()
            self._depth -= 1
            return value
        value = self._atom()
        while self._peek("%", "percent") and not self._modulo():
            self._take("%", "percent")
            value /= 100
        return value

    def _modulo(self) -> bool:
        """`%` in front of a number would be a remainder, which nobody asks a help desk for: refused as unclear."""
        following = self._tokens[self._at + 1][0] if self._at + 1 < len(self._tokens) else ""
        if following == "number":
            raise BadInput(f"the expression {self._text!r} has % before a number: write `12% of 80`")
        return False

    def _atom(self) -> Decimal:
        if self._at >= len(self._tokens):
            raise BadInput(f"the expression {self._text!r} ends too early")
        kind, text = self._tokens[self._at]
        if kind == "number":
            self._at += 1
            return Decimal(text.replace(",", ""))
        if kind == "name" and text.lower() in _FUNCTIONS:
            self._at += 1
            return self._call(text.lower())
        if text == "(":
            self._take("(")
            value = self._sum()
            self._take(")")
            return value
        raise BadInput(f"the expression {self._text!r} holds {text!r} where a number belongs")

    def _call(self, name: str) -> Decimal:
        function, least, most = _FUNCTIONS[name]
        self._take("(")
        values = [self._sum()]
        while self._peek(","):
            self._take(",")
            values.append(self._sum())
        self._take(")")
        if not least <= len(values) <= most:
            raise BadInput(f"{name}() takes {least} to {most} values")
        return self._sized(function(*values))

    @staticmethod
    def _sized(value: Decimal) -> Decimal:
        if not value.is_finite() or abs(value) > MAX_SIZE:
            raise BadInput("the expression grows too large")
        return value
