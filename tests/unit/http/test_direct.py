"""The transport of requests: connections are kept and not trusted, and what goes wrong is told as httpx tells it."""

from __future__ import annotations

import errno
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from fanlight.services.http import direct
from fanlight.services.http.direct import DirectTransport
from fanlight.services.http.silence import SOCKET_OPTIONS
from fanlight.services.http.wire import Wire, certificates

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Script = Callable[[socket.socket], Any]


class Server:
    """Does with each connection what the next of its scripts says; ``lines`` counts connections."""

    def __init__(self, *scripts: Script, tls: ssl.SSLContext | None = None, address: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listening = socket.create_server((address, 0), family=family)
        self._scripts, self._tls = scripts, tls
        self.lines = 0
        self.url = f"{'https' if tls else 'http'}://localhost:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with self._listening:
            for script in self._scripts:
                line, _ = self._listening.accept()
                self.lines += 1
                with suppress(OSError), line, self._secured(line) as talked:  # who asks may go away
                    script(talked)

    def _secured(self, line: socket.socket) -> socket.socket:
        return self._tls.wrap_socket(line, server_side=True) if self._tls else line


def read_request(line: socket.socket) -> bytes:
    """Head and body of one request."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = line.recv(1 << 16)
        if not piece:
            raise ConnectionResetError
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    due = next((int(field[15:]) for field in head.split(b"\r\n") if field.lower().startswith(b"content-length:")), 0)
    while len(body) < due:
        body += line.recv(1 << 16)
    return head + b"\r\n\r\n" + body


def answers(*replies: bytes) -> Script:
    """A connection on which so many requests are answered, and which is closed then."""

    def script(line: socket.socket) -> None:
        for reply in replies:
            read_request(line)
            line.sendall(reply)

    return script


@contextmanager
def transport(trusted: ssl.SSLContext | None = None) -> Iterator[DirectTransport]:
    made = DirectTransport(trusted or certificates(trust_env=False), SOCKET_OPTIONS)
    yield made
    made.close()


def ask(made: DirectTransport, url: str, *, due: float = 5.0, **options: Any) -> httpx.Response:
    """The answer to one request, read and closed."""
    request = httpx.Request(
        options.pop("method", "GET"), url, extensions={"timeout": httpx.Timeout(due).as_dict()}, **options
    )
    response = made.handle_request(request)
    response.request = request
    try:
        response.read()
    finally:
        response.close()
    return response


def test_a_connection_is_kept_for_the_next_request() -> None:
    server = Server(answers(OK, OK, OK))
    with transport() as made:
        assert [ask(made, server.url).content for _ in range(3)] == [b"ok"] * 3
    assert server.lines == 1


def test_a_connection_that_the_server_has_closed_meanwhile_is_not_used_again() -> None:
    closed = threading.Event()

    def once(line: socket.socket) -> None:
        answers(OK)(line)
        line.shutdown(socket.SHUT_RDWR)
        closed.set()

    server = Server(once, answers(OK))
    with transport() as made:
        ask(made, server.url)
        assert closed.wait(5)
        assert ask(made, server.url).content == b"ok"
    assert server.lines == 2


def test_a_connection_that_is_idle_for_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(answers(OK, OK), answers(OK))
    with transport() as made:
        ask(made, server.url)
        monkeypatch.setattr(direct, "IDLE_S", 0.0)
        with ThreadPoolExecutor(1) as another:
            assert another.submit(ask, made, server.url).result(5).content == b"ok"
    assert server.lines == 2


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
)
def test_an_answer_that_ends_the_connection_is_read_to_its_end(reply: bytes) -> None:
    server = Server(answers(reply), answers(OK))
    with transport() as made:
        assert [ask(made, server.url).content for _ in range(2)] == [b"ok"] * 2
    assert server.lines == 2


def test_answers_in_chunks_and_without_a_body_keep_the_connection() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n1\r\n!\r\n0\r\n\r\n"
    server = Server(answers(chunked, b"HTTP/1.1 204 No Content\r\n\r\n", OK))
    with transport() as made:
        found = [ask(made, server.url) for _ in range(3)]
    assert [(response.status_code, response.content) for response in found] == [(200, b"ok!"), (204, b""), (200, b"ok")]
    assert server.lines == 1


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"", httpx.RemoteProtocolError),
        (b"SSH-2.0-OpenSSH_9.2\r\n", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000 + b"\r\n", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", httpx.RemoteProtocolError),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 4_000, httpx.RemoteProtocolError),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nno field\r\nContent-Length: 2\r\n\r\nok", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 1\r\n\r\nok", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nok\r\n", httpx.RemoteProtocolError),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 20_000,
            httpx.RemoteProtocolError,
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1;" + b"y" * 100_000 + b"\r\n.",
            httpx.RemoteProtocolError,
        ),
    ],
)
def test_half_an_answer_and_none_at_all_are_errors_of_the_server(
    reply: bytes, error: type[httpx.TransportError]
) -> None:
    server = Server(answers(reply), answers(OK))
    with transport() as made:
        with pytest.raises(error):
            ask(made, server.url)
        assert ask(made, server.url).content == b"ok"


def test_what_a_server_says_before_its_answer_is_passed_over() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </style>\r\n\r\n"

    def in_two(line: socket.socket) -> None:
        for word in (b"1", b"2"):
            read_request(line)
            line.sendall(early)
            time.sleep(0.05)
            line.sendall(early + OK.replace(b"ok", word * 2))

    server = Server(in_two)
    with transport() as made:
        found = [ask(made, server.url) for _ in range(2)]
    assert [(response.status_code, response.content) for response in found] == [(200, b"11"), (200, b"22")]
    assert [list(response.headers) for response in found] == [["content-length"]] * 2
    assert server.lines == 1


@pytest.mark.parametrize("more", [OK, b"?", b"HTTP/1.1"])
def test_a_connection_on_which_more_comes_than_was_asked_for_is_not_used_again(more: bytes) -> None:
    server = Server(answers(OK + more), answers(OK.replace(b"ok", b"2.")))
    with transport() as made:
        assert [ask(made, server.url).content for _ in range(2)] == [b"ok", b"2."]
    assert server.lines == 2


def test_the_answer_of_a_server_that_takes_no_more_is_read() -> None:
    refusal = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!"

    def refuse(line: socket.socket) -> None:
        line.recv(1 << 10)
        line.sendall(refusal)
        line.shutdown(socket.SHUT_WR)
        while line.recv(1 << 20):
            pass

    server = Server(refuse, answers(OK))
    with transport() as made:
        content = iter([bytes(1 << 20)] * 8)
        headers = {"Content-Length": str(8 << 20)}
        response = ask(made, server.url, method="PUT", content=content, headers=headers)
        assert (response.status_code, response.content) == (413, b"no!")
        assert ask(made, server.url).content == b"ok"
    assert server.lines == 2


def test_what_takes_long_is_sent_as_long_as_some_of_it_goes() -> None:
    size, pause_s, due_s = 48 << 20, 0.01, 1.0

    def slowly(line: socket.socket) -> None:
        left = size
        while left > 0:
            left -= len(line.recv(1 << 18))
            time.sleep(pause_s)
        line.sendall(OK)

    assert size / (1 << 18) * pause_s > due_s
    server, headers = Server(slowly), {"Content-Length": str(size)}
    with transport() as made:
        assert ask(made, server.url, method="PUT", content=iter([bytes(size)]), headers=headers, due=due_s).content


def test_a_server_that_takes_nothing_and_one_that_says_nothing_are_given_up() -> None:
    over = threading.Event()
    too_much: dict[str, Any] = {"content": iter([bytes(64 << 20)]), "headers": {"Content-Length": str(64 << 20)}}
    servers = [Server(lambda _line: over.wait(10)) for _ in range(2)]
    with transport() as made:
        with pytest.raises(httpx.WriteTimeout):
            ask(made, servers[0].url, method="PUT", due=0.2, **too_much)
        with pytest.raises(httpx.ReadTimeout):
            ask(made, servers[1].url, due=0.2)
    over.set()


@pytest.mark.parametrize("body", [b"hell", b"hello!"])
def test_a_body_that_is_not_as_long_as_it_says_is_not_sent_as_if_it_were(body: bytes) -> None:
    server = Server(answers(OK), answers(OK))
    with transport() as made:
        with pytest.raises(httpx.LocalProtocolError):
            ask(made, server.url, method="PUT", content=iter([body]), headers={"Content-Length": "5"})
        assert ask(made, server.url).content == b"ok"
    assert server.lines == 2


def test_what_fails_while_a_body_is_read_is_no_fault_of_the_server() -> None:
    def broken() -> Iterator[bytes]:
        yield b"hell"
        raise OSError(errno.EIO, "the disk has failed")

    server = Server(answers(OK))
    with transport() as made, pytest.raises(OSError, match="the disk has failed"):
        ask(made, server.url, method="PUT", content=broken(), headers={"Content-Length": "5"})


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_a_server_may_have_an_address_of_six_parts() -> None:
    server = Server(answers(OK), address="::1")
    with transport() as made:
        assert ask(made, server.url.replace("localhost", "[::1]")).content == b"ok"


@pytest.mark.parametrize(("url", "place"), [("http://[::1]/", ("::1", 80)), ("https://[::1]/", ("::1", 443))])
def test_a_server_without_a_port_is_asked_at_that_of_its_scheme(
    url: str, place: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def look_up(host: str, port: int, **_options: object) -> list[object]:
        asked.append((host, port))
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with transport() as made, pytest.raises(httpx.ConnectError):
        ask(made, url)
    assert asked == [place]


def test_nobody_there_is_told_as_such() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with transport() as made, pytest.raises(httpx.ConnectError):
        ask(made, f"http://127.0.0.1:{port}")
    with transport() as made, pytest.raises(httpx.ConnectError):
        ask(made, "http://nowhere.invalid")


@pytest.mark.parametrize("value", ["a\r\nX-Injected: yes", "a\nb", "a\0b\r"])
def test_a_field_cannot_smuggle_in_another(value: str) -> None:
    server = Server(answers(OK))
    with transport() as made, pytest.raises(httpx.LocalProtocolError):
        ask(made, server.url, headers={"X": value})


def test_a_request_arrives_as_it_was_made() -> None:
    seen: list[bytes] = []

    def look(line: socket.socket) -> None:
        seen.append(read_request(line))
        line.sendall(OK)

    server = Server(look)
    with transport() as made:
        ask(made, server.url + "/a%20b?c=d", method="PUT", content=b"hello", headers={"X-Twice": "1", "Accept": "z"})
    head, _, body = seen[0].partition(b"\r\n\r\n")
    assert head.split(b"\r\n")[0] == b"PUT /a%20b?c=d HTTP/1.1"
    assert sorted(field.split(b":")[0].lower() for field in head.split(b"\r\n")[1:]) == [
        b"accept",
        b"content-length",
        b"host",
        b"x-twice",
    ]
    assert body == b"hello"


def test_what_waits_can_be_broken_off_and_nothing_is_asked_then() -> None:
    asked, over = threading.Event(), threading.Event()

    def wait(line: socket.socket) -> None:
        read_request(line)
        asked.set()
        over.wait(60)

    server = Server(wait, wait)
    with transport() as made, ThreadPoolExecutor(1) as asking:
        waiting = asking.submit(ask, made, server.url, due=60)
        assert asked.wait(60)
        made.break_off()
        with pytest.raises(httpx.TransportError):
            waiting.result(60)
        with pytest.raises(httpx.ConnectError):
            ask(made, server.url)
    over.set()


def test_who_waits_for_a_connection_can_be_broken_off() -> None:
    """Nobody answers there: the queue of a server that takes no connection is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, ExitStack() as filling:
        address = server.getsockname()
        filling.enter_context(suppress(TimeoutError))
        while True:
            line = filling.enter_context(socket.socket())
            line.settimeout(0.5)
            try:
                line.connect(address)
            except TimeoutError:
                break
        with transport() as made:
            broken_off_while_it_waits(made, f"http://127.0.0.1:{address[1]}", lambda: bool(made._busy))


def broken_off_while_it_waits(made: DirectTransport, url: str, is_waiting: Callable[[], bool]) -> None:
    """Well before it would lose its patience."""
    with ThreadPoolExecutor(1) as asking:
        waiting = asking.submit(ask, made, url, due=3600)
        while not is_waiting():
            threading.Event().wait(0.001)
        threading.Event().wait(0.05)  # it may not have come to wait yet; it would be told then as well
        made.break_off()
        with pytest.raises(httpx.TransportError):
            waiting.result(60)
    assert made._busy == set()


def test_who_waits_for_a_server_to_prove_itself_can_be_broken_off() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, transport() as made:
        url = f"https://localhost:{silent.getsockname()[1]}"
        broken_off_while_it_waits(made, url, lambda: any(isinstance(line, ssl.SSLSocket) for line in made._busy))


def test_an_encrypted_line_that_is_broken_off_stays_encrypted(named: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ssl forgets, in its own ``shutdown``, that it is: who writes at that moment would write in the clear."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(named / "certificate.pem", named / "key.pem")
    server, trusting = (
        Server(answers(OK), tls=context),
        ssl.create_default_context(cafile=str(named / "certificate.pem")),
    )

    def parts(made: DirectTransport) -> Iterator[bytes]:
        (line,) = made._busy
        assert isinstance(line, ssl.SSLSocket)
        with monkeypatch.context() as gap:
            gap.setattr(socket.socket, "shutdown", lambda _line, _how: None)  # what the system does comes a bit later
            made.break_off()
            assert line.version() is not None
        made.break_off()
        yield b"secret"

    with transport(trusting) as made, pytest.raises(httpx.TransportError):
        ask(made, server.url, method="POST", content=parts(made), headers={"Content-Length": "6"})


def test_a_body_of_unknown_length_arrives_in_chunks() -> None:
    seen: list[bytes] = []

    def look(line: socket.socket) -> None:
        while not b"".join(seen).endswith(b"0\r\n\r\n"):
            seen.append(line.recv(1 << 16))
        line.sendall(OK)

    server = Server(look)
    with transport() as made:
        ask(made, server.url, method="PUT", content=iter([b"a" * 17, b"", b"b"]))
    assert b"".join(seen).partition(b"\r\n\r\n")[2] == b"11\r\n" + b"a" * 17 + b"\r\n1\r\nb\r\n0\r\n\r\n"


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate for ``localhost`` and its key."""
    folder, key = tmp_path_factory.mktemp("certificate"), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder


def test_a_server_must_prove_its_name_where_lines_are_encrypted(named: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(named / "certificate.pem", named / "key.pem")

    trusting = ssl.create_default_context(cafile=str(named / "certificate.pem"))
    server = Server(answers(OK, OK), tls=context)
    with transport(trusting) as made:
        assert [ask(made, server.url).content for _ in range(2)] == [b"ok"] * 2
    assert server.lines == 1
    stranger = Server(answers(OK), tls=context)
    with transport() as made, pytest.raises(httpx.ConnectError, match="certificate"):
        ask(made, stranger.url)


def test_a_proxy_carries_what_goes_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    lines = [Wire(url, {}, lambda _response: None) for url in ("http://example.org", "http://127.0.0.1:80")]
    assert [isinstance(line.transport, DirectTransport) for line in lines] == [False, True]
    for line in lines:
        line.close()
