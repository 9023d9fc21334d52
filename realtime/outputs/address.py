"""Where to send: addresses as the command line spells them, and what to install for it."""

from instrec_live.models.errors import UsageError


def host_and_port(option: str, address: str) -> tuple[str, int]:
    """ "127.0.0.1:9000" -> ("127.0.0.1", 9000); an IPv6 address stands in brackets.

    Raises:
        UsageError: it is no such address.
    """
    host, colon, port = address.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not (colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise UsageError(f"{option} {address}: not an address", f"as in {option} HOST:PORT, the port from 1 to 65535")
    return host, int(port)


def needs_control(option: str) -> UsageError:
    return UsageError(f"{option} needs more than is installed", "pip install 'instrec-live[control]'")
