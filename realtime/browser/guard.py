"""Who may come in: the token, and the headers by which a browser says whose page is asking."""

import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Guard:
    """Lets in whoever has the token; without a token, whoever is on this machine and was not sent by another page.

    Attributes:
        token: what the address must hold; None for a server that only this machine can reach.
        public: scheme and host that a proxy is reached by ("https://music.example"), None without a proxy.
    """

    token: str | None = None
    public: str | None = None

    def refusal(self, headers: Mapping[str, str], token: str, secret: bool) -> str | None:
        """Why a request is refused, or None.

        Args:
            headers: of the request, any case.
            token: the one in its address.
            secret: whether it asks for the screen, and not only for what every copy of this program holds.
        """
        host = headers.get("Host", "")
        # A page of another site can make a browser knock here, by a name that it lets lead to this machine too.
        if self.token is None and not is_loopback(_hostname(host)):
            return f"this server is for its own machine, not for {host or 'a request without a host'}"
        origin = headers.get("Origin")
        if origin is not None and origin not in {f"http://{host}", f"https://{host}", self.public}:
            return "another site's page may not look in here"
        if secret and self.token is not None and not hmac.compare_digest(token.encode(), self.token.encode()):
            return "this address needs its token, as it was printed where the program was started"
        return None


def is_loopback(host: str) -> bool:
    """Whether a name or an address can only be this machine itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def origin_of(url: str) -> str | None:
    """Scheme and host of a web address as browsers write them, None if it is none."""
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


def _hostname(header: str) -> str:
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""
