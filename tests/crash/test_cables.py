"""What the soak relies on: a pulled cable loses what is sent, and tells nobody; and the kernel notices in the end."""

from __future__ import annotations

import errno
import os
import socket
import threading

import httpx
import pytest

from fanlight.services.http.remote import UNSIGNED
from fanlight.services.http.silence import patience_for
from fanlight.services.http.wire import Wire
from tests.crash.cable import laid, own_network
from tests.requirements import require

PORT = 8080


def test_a_pulled_cable_loses_bytes_without_a_word_and_tcp_goes_on_when_it_is_plugged_in_again() -> None:
    require("cables")
    with (
        own_network(),
        laid(0) as cable,
        cable.listen(PORT) as listening,
        socket.create_connection((cable.host, PORT)) as here,
        listening.accept()[0] as there,
    ):
        here.sendall(b"one")
        assert there.recv(8) == b"one"
        cable.pull()
        here.sendall(b"two")
        there.sendall(b"three")
        for end in (here, there):
            end.settimeout(0.5)
            with pytest.raises(TimeoutError):
                end.recv(8)
            end.settimeout(30)
        cable.plug()
        assert (there.recv(8), here.recv(8)) == (b"two", b"three")


def test_the_kernel_gives_up_a_wait_whose_cable_is_pulled_long_before_its_end() -> None:
    """Nothing is sent meanwhile, so it is the probes that nobody answers."""
    require("cables")
    over = threading.Event()
    with own_network(), laid(0) as cable, cable.listen(PORT) as listening:

        def hear_and_be_cut_off() -> None:
            with listening.accept()[0] as there:
                assert there.recv(1 << 16)
                cable.pull()
                over.wait()

        server = threading.Thread(target=hear_and_be_cut_off)
        server.start()
        wire = Wire(f"http://{cable.host}:{PORT}", {}, lambda _response: None)
        try:
            asked = wire.exchange("GET", "/offer", content=b"", headers={}, auth=UNSIGNED, timeout=patience_for(600))
            with pytest.raises(httpx.ReadTimeout, match=os.strerror(errno.ETIMEDOUT)), asked:  # the kernel's word
                pass
        finally:
            over.set()
            server.join()
            wire.close()
