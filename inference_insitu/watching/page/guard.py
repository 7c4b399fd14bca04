"""Who may see the page: this machine's own browser, with the token, from the page itself.

Loopback alone protects little: every user of the machine reaches it, and so does any web page that the
user's browser has open. Hence the token in the address, the check of the ``Host`` header (a foreign name that resolves
to 127.0.0.1, DNS rebinding), the check of where a request that changes something comes from, and
a content security policy under which nothing is loaded from anywhere else and no text of the run can run.
"""

import hmac
import secrets
from collections.abc import Mapping

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
"""Names that a browser on this machine, or at the near end of an ssh tunnel, calls the page by."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
"""Of every answer, refusals too."""


def new_token() -> str:
    """256 bits for the address."""
    return secrets.token_urlsafe(32)


def refusal(method: str, path: str, headers: Mapping[str, str], token: str) -> str | None:
    """Why a request is not answered, or None; ``headers`` by names as HTTP writes them."""
    host = headers.get("Host", "")
    if _name(host) not in LOOPBACK:
        return f"the page must be asked for by one of the names {', '.join(LOOPBACK)}"
    given = path.removeprefix("/").partition("/")[0].encode("utf-8", "replace")
    if not hmac.compare_digest(given, token.encode()):
        return "the address must hold the token that cdi insitu view printed"
    if method in ("GET", "HEAD"):
        return None
    if headers.get("Origin") != f"http://{host}":
        return "a command must come from the page itself"
    if headers.get("Content-Type", "").partition(";")[0].strip() != "application/json":
        return "a command must be JSON"
    return None


def _name(host: str) -> str:
    """``Host`` without its port: at the near end of a tunnel it may be any."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() else host).lower()
