"""Both servers' pages while a real round goes from state to state: what they say, and the one thing to do now."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from fanlight.consoles import aggregator as aggregator_pages
from fanlight.consoles import main_server as main_pages
from fanlight.errors import RemoteError
from fanlight.storage.tables import aggregator as tables
from tests.services_world import World, running, wait
from tests.unit.consoles.federation import HOSTILE, OUR_SCRIPTS, Page, owner


def browsers(world: World) -> tuple[TestClient, TestClient]:
    """Both operators', logged in."""
    main_pages.install(world.apps["main"], world.main)
    aggregator_pages.install(world.apps["aggregator"], world.aggregator)
    return (
        owner(world.apps["main"], world.ports["main"].url),
        owner(world.apps["aggregator"], world.ports["aggregator"].url),
    )


def words(browser: TestClient, path: str = "/") -> str:
    page = Page.of(browser.get(path))
    assert page.scripts() == OUR_SCRIPTS
    return " ".join(page.text.split())


def strong(browser: TestClient, path: str = "/") -> list[str]:
    """The strong buttons of a page: where their forms or links lead."""
    page, found, action = Page.of(browser.get(path)), [], ""
    for tag, attributes in page.elements:
        action = attributes["action"] if tag == "form" else action
        if tag in ("button", "a") and "primary" in attributes.get("class", "").split():
            found.append(attributes.get("href", action))
    return found


def test_a_round_from_state_to_state(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        main, aggregator = browsers(world)
        assert "Waiting for the first round." in words(aggregator)
        assert "0 of the 2 that a round needs are enrolled" in words(main)
        assert strong(main) == ["/devices#invite"]
        first, second = world.enrolled(2)

        assert "Round 1 is open: 0 reports so far. It needs 2." in words(main)
        assert strong(main) == ["/devices"], "not Measure, which is only possible"
        assert "Round 1 is open: 0 reports so far." not in words(main, "/aggregate_models"), "the reason says it"
        assert ("/rounds/1/abandon", {"csrf"}) in Page.of(main.get("/")).forms()
        assert "An example; when a report is here" in words(aggregator)
        sent = [first.report(), second.report()]
        size = f"{4 * sent[0].record.length / 1000:.1f} kB"
        assert "Round 1 is open: 2 reports so far. That is enough" in words(main)
        assert strong(main) == strong(main, "/aggregate_models") == ["/aggregate_models"]
        for told in ("Round 1 is open: 2 of at least 2 reports.", f"{size} each, masked twice", "at least 2 devices"):
            assert told in words(aggregator)
        assert "lies here now" in words(aggregator)
        assert "each can work out the other's update" in words(aggregator)
        assert strong(aggregator) == ["/aggregate_models"]

        world.owner("aggregator").step("/aggregate_models")
        assert "Round 1 is summed: send it to the main server." in words(aggregator)
        assert strong(aggregator) == strong(aggregator, "/aggregate_models") == ["/send_model_secagg"]
        assert "Next: Release the sum" in words(aggregator, "/aggregate_models")
        world.owner("aggregator").step("/send_model_secagg")
        wait(lambda: world.round(1, state="released"), "the sum is at the main server")
        assert "Round 1 made a new model: publish it." in words(main)
        assert strong(main) == ["/send_model_clients"]
        assert "/rounds/1/abandon" not in [action for action, _fields in Page.of(main.get("/")).forms()]

        world.owner("main").step("/send_model_clients")
        wait(lambda: world.open_round() == 2, "round 2 is open")
        assert "Version 1 is published: measure it." in words(main)
        assert strong(main) == strong(main, "/send_model_clients") == ["/measure"]
        assert {"href": "/models/1"} in Page.of(main.get("/send_model_clients")).all("a")
        assert "finished" in words(aggregator, "/rounds")
        assert "at least 2 devices (drawn here as an example); the last one was over 2 devices;" in words(aggregator)
        world.main.service.change_policy(paused=True)
        assert "Rounds are paused." in words(main)
        world.stop_main()
        wait(lambda: world.aggregator.service.main_problem, "the aggregator notices")
        assert "The main server cannot be reached or followed." in words(aggregator)


def test_whose_report_was_not_taken_is_told_as_text(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        _main, aggregator = browsers(world)
        devices = world.enrolled(len(HOSTILE))
        for device, name in zip(devices, HOSTILE, strict=True):
            with world.aggregator.service.database.transaction() as tx:
                columns = tables.devices.c
                tx.execute(tables.devices.update().where(columns.dev == device.id).values(name=name))
            sent = device.commit()
            for _ in range(2):
                with pytest.raises(RemoteError):
                    device.upload(sent, b"\0" * (4 * sent.record.length))
        page = Page.of(aggregator.get("/rounds"))
        assert all(name in page.text for name in HOSTILE)
        told = "refused: the numbers were not those that the device had signed, 2 times"
        assert words(aggregator, "/rounds").count(told) == len(HOSTILE)
