"""Who may search: anybody on this machine, and from elsewhere anybody with the token."""

from __future__ import annotations

import base64
import hmac
import ipaddress
from pathlib import Path

from include.settings import SettingsError

MIN_TOKEN_CHARS = 16
CHALLENGES = ('Basic realm="podsearch", charset="UTF-8"', 'Bearer realm="podsearch"')
"""Makes browsers ask for a name and password: the password is the token, the name does not matter."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_token(file: Path | None) -> str | None:
    """The token, or None where none was set.

    :raises SettingsError: the file cannot be read, or contains no token that is long enough.
    """
    if file is None:
        return None
    try:
        token = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"PODSEARCH_SEARCH_TOKEN_FILE: {file} cannot be read as a token ({error}).") from None
    if len(token) < MIN_TOKEN_CHARS or not token.isprintable() or " " in token:
        raise SettingsError(
            f"PODSEARCH_SEARCH_TOKEN_FILE: {file} contains no token of at least {MIN_TOKEN_CHARS} letters, digits and "
            f"symbols. Create one: openssl rand -hex 24 > {file}"
        )
    return token


def require_safe(host: str, token: str | None) -> None:
    """:raises SettingsError: other machines could reach the service, and anybody on them could search."""
    if token is None and not is_loopback(host):
        raise SettingsError(
            f"On {host} other machines could search, too, and nobody would have to log in. Set "
            "PODSEARCH_SEARCH_TOKEN_FILE to a file with a token (openssl rand -hex 24), or listen on 127.0.0.1."
        )


def has_token(authorization: str, token: str) -> bool:
    """Whether a request's ``Authorization`` has the token, as ``Bearer`` or as the password of ``Basic``."""
    scheme, _, given = authorization.partition(" ")
    given = given.strip()
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).decode().partition(":")[2]
        except ValueError:
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())
