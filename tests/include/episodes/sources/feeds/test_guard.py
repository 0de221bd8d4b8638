from __future__ import annotations

import asyncio
import datetime
import ssl
from pathlib import Path

import certifi
import httpcore
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from include.episodes.sources.feeds.failure import FeedError
from include.episodes.sources.feeds.guard import GuardedBackend, GuardedTransport, is_public
from tests.include.episodes.sources.feeds.conftest import PUBLIC, Names
from tests.standins.feeds import FeedsStandIn


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.9.10",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "168.63.129.16",
        "100.64.0.1",
        "192.0.0.1",
        "198.18.0.1",
        "203.0.113.7",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2002:a00:1::1",
        "2001:db8::1",
        "2001:0:7f00:1::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
        "not an address",
    ],
)
def test_addresses_of_our_own_network_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_addresses_of_the_internet_are(address: str) -> None:
    assert is_public(address)


def connect(host: str, port: int, *, allow_private: bool = False) -> None:
    async def run() -> None:
        stream = await GuardedBackend(allow_private=allow_private).connect_tcp(host, port, timeout=1)
        await stream.aclose()

    asyncio.run(run())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f.1", "2130706433", "0", "::1", "::ffff:127.0.0.1"])
def test_this_machine_is_refused_however_it_is_written(server: FeedsStandIn, connected: list[str], host: str) -> None:
    with pytest.raises((FeedError, httpcore.ConnectError)):
        connect(host, server.port)
    assert not connected


def test_one_private_address_among_public_ones_is_enough_to_refuse(
    server: FeedsStandIn, names: Names, connected: list[str]
) -> None:
    names.answers["mixed.example"] = [[PUBLIC, "10.0.0.1"]]
    with pytest.raises(FeedError, match=r"10\.0\.0\.1"):
        connect("mixed.example", server.port)
    assert not connected


def test_what_was_checked_is_what_is_connected_to(server: FeedsStandIn, names: Names, connected: list[str]) -> None:
    names.answers["show.example"] = [[PUBLIC], ["127.0.0.1"]]
    connect("show.example", server.port)
    assert (connected, names.asked) == ([PUBLIC], ["show.example"])


def test_the_next_address_is_tried_when_one_does_not_answer(
    server: FeedsStandIn, names: Names, connected: list[str]
) -> None:
    names.answers["show.example"] = [["::1", "127.0.0.1"]]  # the stand-in listens on the second alone
    connect("show.example", server.port, allow_private=True)
    assert connected == ["::1", "127.0.0.1"]


@pytest.mark.parametrize("host", ["missing.example", "a" * 64 + ".example", "a..example"])
def test_a_name_that_does_not_resolve_is_a_failed_connection(names: Names, host: str) -> None:
    names.answers[host] = [[]]
    with pytest.raises(httpcore.ConnectError):
        connect(host, 80)


def certificate(folder: Path, host: str) -> Path:
    """A certificate for a host that vouches for itself, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    today = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    plain = serialization.NoEncryption()
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )
    return file


@pytest.mark.parametrize(("host", "good"), [("show.example", True), ("other.example", False)])
def test_a_certificate_is_checked_against_the_name_although_an_address_is_connected_to(
    names: Names, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, host: str, good: bool
) -> None:
    file = certificate(tmp_path, "show.example")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    monkeypatch.setattr(certifi, "where", lambda: str(file))

    async def status(url: str) -> int:
        async with GuardedTransport(allow_private=True, connections=1) as transport:
            response = await transport.handle_async_request(httpx.Request("GET", url))
            await response.aread()
            return response.status_code

    with FeedsStandIn().serve(tls=context) as server:
        address = server.url("/missing", host=host).replace("http:", "https:")
        if good:
            assert asyncio.run(status(address)) == 404
        else:
            with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
                asyncio.run(status(address))
