"""Who gets into the console: the sign-in form, the session behind every request and socket, limits on guessing.

Pages and sockets without a session are turned away here, before any page's code runs. The forms are plain HTML and work without scripts.
"""

from __future__ import annotations

import asyncio
import html
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from frontdesk.errors import FrontdeskError, RateLimited
from frontdesk.store.staff import COOKIE, EVERYBODY, REFUSED, SESSION_SECONDS, Session, StaffAccounts, hashed, matches
from frontdesk.store.store import Store

BASE = "/console"
SIGN_IN = f"{BASE}/sign-in"
SIGN_OUT = f"{BASE}/sign-out"
PASSWORD = f"{BASE}/password"
SESSION = "frontdesk.session"
"""Where the session stands in a request's scope."""
GUESSES, WINDOW = 5, 60.0
"""Wrong passwords per name and window, in seconds; ten times as many per address."""
FORM_BYTES = 4096

_OPEN = (SIGN_IN, SIGN_OUT, f"{BASE}/_nicegui/", f"{BASE}/assets/", f"{BASE}/favicon.ico")
_STATIC = Path(__file__).parent / "static"
_FORM_POLICY = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
# The component framework compiles templates and evaluates handlers in the browser, so its pages need inline scripts and eval; nothing may
# come from or go to another host.
_PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# With no referrer at all, browsers send `Origin: null` with a form, which could be anybody's.
_FORM_HEADERS = {"Content-Security-Policy": _FORM_POLICY, "Cache-Control": "no-store", "Referrer-Policy": "same-origin"}
Way = tuple[str, str]
"""Another way to sign in: what the button says, and where it leads."""


class Guesses:
    """Wrong passwords of the last minute, by name and by address. Held in memory; bounded."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def check(self, name: str, address: str) -> None:
        """Raises RateLimited when there were too many."""
        for key, most in ((f"name {name}", GUESSES), (f"address {address}", 10 * GUESSES)):
            times = self._wrong.get(key, deque())
            while times and times[0] < self._clock() - WINDOW:
                times.popleft()
            if len(times) >= most:
                wait = times[0] + WINDOW - self._clock()
                raise RateLimited(f"Too many wrong passwords: try again in {wait:.0f} seconds.", retry_after=wait)

    def wrong(self, name: str, address: str) -> None:
        """A password was wrong."""
        for key in (f"name {name}", f"address {address}"):
            self._wrong.setdefault(key, deque(maxlen=10 * GUESSES)).append(self._clock())
            self._wrong.move_to_end(key)
        while len(self._wrong) > 10_000:
            self._wrong.popitem(last=False)


class Gate:
    """Middleware in front of the console's pages, files and socket; everything else passes untouched."""

    def __init__(self, app: ASGIApp, *, staff: StaffAccounts, most_bytes: int) -> None:
        self._app = app
        self._staff = staff
        self._most = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] not in ("http", "websocket") or not (path == BASE or path.startswith(f"{BASE}/")):
            await self._app(scope, receive, send)
            return
        if path.startswith(_OPEN):
            await self._app(scope, receive, _with_policy(send) if scope["type"] == "http" else send)
            return
        session = await session_of(scope, self._staff) if _same_origin(scope) else None
        if session is None or (session.must_change and path != PASSWORD):
            await _turned_away(scope, receive, send, PASSWORD if session else _sign_in_for(scope))
            return
        scope[SESSION] = session
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        await self._app(scope, _limited(receive, self._most), _with_policy(send))


async def session_of(scope: Scope, staff: StaffAccounts) -> Session | None:
    """Who is signed in; None also while the database is away."""
    try:
        return await staff.session(cookie_of(scope))
    except FrontdeskError:
        return None


def cookie_of(scope: Scope) -> str:
    """The session cookie's value."""
    for name, value in scope.get("headers", ()):
        if name == b"cookie":
            for piece in value.decode("latin-1").split(";"):
                key, _, given = piece.strip().partition("=")
                if key == COOKIE:
                    return str(given)
    return ""


def _same_origin(scope: Scope) -> bool:
    """Sockets and posts come from our own pages only; a page that somebody merely follows a link to has no Origin."""
    heads = {name: value.decode("latin-1") for name, value in scope.get("headers", ())}
    origin = heads.get(b"origin")
    return origin is None or urlsplit(origin).netloc == heads.get(b"host", "")


def _sign_in_for(scope: Scope) -> str:
    there = scope["path"] + ("?" + scope["query_string"].decode("latin-1") if scope.get("query_string") else "")
    return f"{SIGN_IN}?to={quote(there)}" if scope["type"] == "http" and scope["method"] == "GET" and "_nicegui" not in there else SIGN_IN


async def _turned_away(scope: Scope, receive: Receive, send: Send, where: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 4401, "reason": "sign in"})
        return
    page = scope["method"] == "GET" and "_nicegui" not in scope["path"]
    answer = RedirectResponse(where, 303) if page else Response("Sign in first.", 401)
    await answer(scope, receive, send)


def _with_policy(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            heads = [h for h in message.get("headers", ()) if h[0].lower() != b"content-security-policy"]
            policy = next((h for h in message.get("headers", ()) if h[0].lower() == b"content-security-policy"), None)
            message = {**message, "headers": [*heads, policy or (b"content-security-policy", _PAGE_POLICY.encode())]}
        await send(message)

    return sending


def _limited(receive: Receive, most: int) -> Receive:
    got = 0

    async def receiving() -> Message:
        nonlocal got
        message = await receive()
        got += len(message.get("body", b""))
        return message if got <= most else {"type": "http.disconnect"}

    return receiving


class SignIn:
    """The forms: sign in, sign out, another password."""

    def __init__(self, store: Store, *, ways: Callable[[], Sequence[Way]] = tuple) -> None:
        self._store = store
        self._guesses = Guesses()
        self._ways = ways

    async def form(self, request: Request) -> Response:
        """Shows the form, or signs in."""
        to = _safe(request.query_params.get("to", ""))
        if request.method == "GET":
            return _page("Sign in", self._sign_in_form(to, ""))
        if not _same_origin(request.scope):
            return _page("Sign in", self._sign_in_form(to, "This form was sent from another site: fill it in here."), 403)
        given = await _fields(request)
        name, password, to = given.get("name", "").strip()[:100], given.get("password", ""), _safe(given.get("to", to))
        address = request.client.host if request.client else ""
        try:
            self._guesses.check(name, address)
            stored = await self._store.staff.stored(name)
            if not await asyncio.to_thread(matches, password, stored):
                self._guesses.wrong(name, address)
                return _page("Sign in", self._sign_in_form(to, REFUSED, name), 401)
            cookie = await self._store.staff.open_session(name)
            await self._store.for_tenant(EVERYBODY).desk.audit(actor=name, action="staff.sign_in", subject=name)
        except FrontdeskError as problem:
            return _page("Sign in", self._sign_in_form(to, str(problem), name), problem.status)
        return signed_in(request, cookie, to)

    async def out(self, request: Request) -> Response:
        """Signs out."""
        if _same_origin(request.scope):
            await self._store.staff.close_session(cookie_of(request.scope))
        answer = RedirectResponse(SIGN_IN, 303)
        answer.delete_cookie(COOKIE, path=BASE)
        return answer

    async def password(self, request: Request) -> Response:
        """Shows the form for another password, or changes it. The other sessions of the account end."""
        session: Session | None = request.scope.get(SESSION)
        if session is None:
            return RedirectResponse(SIGN_IN, 303)
        name = session.staff.name
        if request.method == "GET":
            return _page("Choose a password", _password_form("", first=session.must_change))
        given = await _fields(request)
        try:
            self._guesses.check(name, "")
            if not await asyncio.to_thread(matches, given.get("old", ""), await self._store.staff.stored(name)):
                self._guesses.wrong(name, "")
                return _page("Choose a password", _password_form("The present password is not right.", first=session.must_change), 401)
            await self._store.staff.set_password(name, await asyncio.to_thread(hashed, given.get("new", "")))
            await self._store.for_tenant(EVERYBODY).desk.audit(actor=name, action="staff.password", subject=name)
            cookie = await self._store.staff.open_session(name)
        except FrontdeskError as problem:
            return _page("Choose a password", _password_form(str(problem), first=session.must_change), problem.status)
        return signed_in(request, cookie, BASE + "/")

    def _sign_in_form(self, to: str, problem: str, name: str = "") -> str:
        others = "".join(f'<a class="other" href="{html.escape(url)}">{html.escape(says)}</a>' for says, url in self._ways())
        return (
            f'<form method="post" action="{SIGN_IN}"><input type="hidden" name="to" value="{html.escape(to)}">'
            f'<label>Name<input name="name" value="{html.escape(name)}" autocomplete="username" required autofocus></label>'
            '<label>Password<input name="password" type="password" autocomplete="current-password" required></label>'
            f'<p role="alert">{html.escape(problem)}</p><button>Sign in</button></form>{others}'
        )


def signed_in(request: Request, cookie: str, to: str = BASE + "/") -> Response:
    """Leads on, with the session's cookie set."""
    answer = RedirectResponse(_safe(to), 303)
    # Lax, not Strict: a link in an e-mail should open the page; what changes something is a post or a socket, whose origin is checked.
    answer.set_cookie(
        COOKIE, cookie, max_age=SESSION_SECONDS, path=BASE, secure=request.url.scheme == "https", httponly=True, samesite="lax"
    )
    return answer


def _password_form(problem: str, *, first: bool) -> str:
    why = "<p>The password you were given works once. Choose your own.</p>" if first else ""
    return (
        f'{why}<form method="post" action="{PASSWORD}">'
        '<label>Present password<input name="old" type="password" autocomplete="current-password" required autofocus></label>'
        '<label>New password, at least 10 characters<input name="new" type="password" autocomplete="new-password" minlength="10" '
        f'required></label><p role="alert">{html.escape(problem)}</p><button>Save</button></form>'
    )


def _page(title: str, body: str, status: int = 200) -> Response:
    whole = (_STATIC / "form.html").read_text(encoding="utf-8").replace("{title}", html.escape(title)).replace("{body}", body)
    return HTMLResponse(whole, status, headers=_FORM_HEADERS)


async def _fields(request: Request) -> dict[str, str]:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > FORM_BYTES:
            return {}
    return {k: v[-1] for k, v in parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True).items()}


def _safe(to: str) -> str:
    """A place inside the console, else its start."""
    parts = urlsplit(to)
    inside = not parts.scheme and not parts.netloc and parts.path.startswith(f"{BASE}/") and "\\" not in to and to.isprintable()
    return to if inside else BASE + "/"
