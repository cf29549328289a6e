"""Many askers of one process have connections and certificates in common, and sign each for itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fanlight.services.http.remote import Remote
from fanlight.services.http.wire import certificates

Heard = list[tuple[int, str]]


@pytest.fixture
def listening() -> Iterator[tuple[str, Heard]]:
    """A server's address, and what it has heard: the port that each request came from, and who signed it."""
    heard: Heard = []

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            heard.append((self.client_address[1], self.headers["Signature-Input"].partition('keyid="')[2][:2]))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", heard
    server.shutdown()
    server.server_close()


def test_two_ask_over_one_connection_each_under_its_own_name(listening: tuple[str, Heard]) -> None:
    url, heard = listening
    first = Remote("A server", url, key_id="aa" * 16, private=Ed25519PrivateKey.generate(), clock=time.time)
    second = first.asked_by("bb" * 16, Ed25519PrivateKey.generate())
    for asker in (first, second, first):
        assert asker.send("GET", "/", headers={}) == b"ok"
    first.close()
    assert [name for _, name in heard] == ["aa", "bb", "aa"]
    assert len({port for port, _ in heard}) == 1
    assert (first.received_bytes, second.received_bytes) == (4, 2)
    assert second.auth is not first.auth


def test_certificates_are_read_once() -> None:
    assert certificates(trust_env=True) is certificates(trust_env=True)
    assert certificates(trust_env=True).cert_store_stats()["x509_ca"] > 0
