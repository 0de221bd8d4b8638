"""Connections that reach public addresses only.

Feeds come from strangers: a name may resolve to a machine of our own network, and resolve to another address at the
next look. So the check is made where the connection is made: every address that the name resolves to is checked, and
then one of these very addresses is connected to. Redirects come here like any other request. TLS still checks the
certificate against the name.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import httpcore
import httpx

from include.episodes.sources.feeds.failure import FeedError, Reason

_NAT64 = IPv6Network("64:ff9b::/96")
_CLOUD_HOSTS = frozenset({IPv4Address("168.63.129.16")})
"""Public by its number, and yet the inside of a cloud: Azure's virtual machines reach their host's services there."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet, also the IPv4 address that an IPv6 address may carry."""
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address):
        inner = _embedded(ip)
        if inner is not None:
            return is_public(str(inner))
        if ip.is_site_local:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip in _CLOUD_HOSTS)


def _embedded(ip: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that traffic to this one may end at (IPv4-mapped, 6to4, NAT64)."""
    if ip in _NAT64:
        return IPv4Address(ip.packed[-4:])
    return ip.ipv4_mapped or ip.sixtofour


class GuardedBackend(httpcore.AnyIOBackend):
    """Resolves a name itself, refuses it when one of its addresses is not public, and connects to what was checked.

    :param allow_private: connect to any address.
    """

    def __init__(self, *, allow_private: bool) -> None:
        self.allow_private = allow_private

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to a checked address of a host.

        :raises FeedError: one of its addresses is not public.
        :raises httpcore.ConnectError: the name does not resolve, or none of its addresses answers.
        """
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in await self._addresses(host, port):
            try:
                return await super().connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def _addresses(self, host: str, port: int) -> list[str]:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} does not resolve") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        refused = [] if self.allow_private else [address for address in addresses if not is_public(address)]
        if refused:
            raise FeedError(
                Reason.REFUSED_ADDRESS,
                f"{host} leads to {refused[0]}, which is not public (PODSEARCH_FEEDS_ALLOW_PRIVATE allows it)",
            )
        return addresses


class GuardedTransport(httpx.AsyncHTTPTransport):
    """httpx's transport over :class:`GuardedBackend`; no proxy, no setting of the environment.

    :param connections: most connections at a time.
    """

    def __init__(self, *, allow_private: bool, connections: int) -> None:
        # httpx has no parameter for the backend: its pool is replaced by the same one with ours.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context(trust_env=False),
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=5,
            network_backend=GuardedBackend(allow_private=allow_private),
        )
