"""Access: the token, and the headers in which a browser names the page that asks."""

import hmac
import ipaddress
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from instrec_live.realtime.errors import printable

log = logging.getLogger(__name__)

_QUIET_SECONDS = 60.0  # after a line about one kind of trouble


@dataclass(frozen=True, slots=True)
class Guard:
    """Accepts requests with the token; without a token, requests of this machine that do not come from another site.

    Attributes:
        token: what a request must hold; None for a server that only this machine can reach.
        public: scheme and host that a proxy is reached by ("https://music.example"); None without a proxy.
    """

    token: str | None = None
    public: str | None = None

    def refusal(self, headers: Mapping[str, str], token: str, secret: bool) -> str | None:
        """Why a request is refused, or None.

        Args:
            headers: of the request, by names in lower case.
            token: the one that the request holds, "" for none.
            secret: whether it asks for the run, and not only for what every copy of this program holds.
        """
        host = headers.get("host", "")
        # A site can give its own name this machine's address, and so make a browser ask here.
        if self.token is None and not is_loopback(_hostname(host)):
            return f"this server is for its own machine only, not for {host or 'a request without a host'}"
        origin = headers.get("origin")
        if origin is not None and origin not in {f"http://{host}", f"https://{host}", self.public}:
            return "another site's page may not read this"
        # Scripts and pictures of other sites send no Origin, but browsers say where they come from.
        embedded = headers.get("sec-fetch-mode", "navigate") != "navigate"
        if secret and embedded and headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return "another site's page may not read this"
        if secret and self.token is not None and not hmac.compare_digest(_bytes(token), _bytes(self.token)):
            return "this address needs its token: take the address that the program printed when it started"
        return None


class RareLog:
    """Logs each kind of trouble at once, and then at most once a minute, with a count.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: dict[str, tuple[float, int]] = {}  # kind -> when it was logged, and how often it came since

    def warn(self, kind: str, text: str) -> None:
        """Log `text`, unless one of the same kind was logged less than a minute ago. There must be few kinds."""
        now = self._clock()
        last, count = self._kinds.get(kind, (-_QUIET_SECONDS, 0))
        if now - last < _QUIET_SECONDS:
            self._kinds[kind] = (last, count + 1)
            return
        self._kinds[kind] = (now, 0)
        more = f" (and {count} more like it since the last such line)" if count else ""
        log.warning("%s%s", printable(text), more)


def is_loopback(host: str) -> bool:
    """Whether a name or an address can only be this machine itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def origin_of(url: str) -> str | None:
    """Scheme and host of a web address as browsers write them; None if it is none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    default = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, default) else "")


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def _hostname(header: str) -> str:
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""
