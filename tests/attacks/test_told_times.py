"""Who tells a device a wrong time: it talks nobody into a round that is over."""

from __future__ import annotations

from email.utils import formatdate
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fanlight.errors import RemoteError
from fanlight.protocol.manifest import SignedManifest
from fanlight.services.device.client import AggregatorClient
from fanlight.services.device.window_time import WindowTime
from fanlight.services.http.remote import Remote
from tests.services_world import Clock, running

HOUR_S = 3600


def test_main_cannot_talk_a_device_into_an_old_manifest_by_the_time_that_it_tells(tmp_path: Path) -> None:
    with running(tmp_path, window_s=600) as world:
        device = world.enrolled(2)[0]
        signed = SignedManifest.decode(device.offer().manifest or b"")
        world.clocks["main"] = Clock()
        world.restart_main()
        world.clock.offset += 601
        world.clocks["main"].offset -= HOUR_S
        device.offer()
        assert device.main.remote.auth.clock_offset_s < -HOUR_S, "for requests to main, the device goes by main's clock"
        time = WindowTime(device.aggregator, world.clock)
        time.settle(signed)
        assert time() >= signed.terms.closes_at


def test_who_tells_a_device_an_earlier_time_without_tls_gets_it_to_send_what_the_aggregator_refuses(
    tmp_path: Path,
) -> None:
    with running(tmp_path, window_s=600) as world:
        device = world.enrolled(2)[0]
        signed = SignedManifest.decode(device.offer().manifest or b"")
        world.clock.offset += 601

        def on_the_line(_request: httpx.Request) -> httpx.Response:
            told = {"Date": formatdate(world.clock() - HOUR_S, usegmt=True)}
            return httpx.Response(204, headers=told, stream=httpx.ByteStream(b""))

        private = Ed25519PrivateKey.generate()
        transport = httpx.MockTransport(on_the_line)
        lied_to = Remote("It", "http://it", key_id="x", private=private, clock=world.clock, transport=transport)
        time = WindowTime(AggregatorClient(lied_to), world.clock)
        time.settle(signed)
        assert time() < signed.terms.closes_at, "it believes that"
        assert lied_to.auth.clock_offset_s == 0, "and signs no request for another hour"
        with pytest.raises(RemoteError) as caught:
            device.upload(device.commit_to(signed))
        assert caught.value.slug in {"report-late", "round-over"}
        assert not world.report_files()
