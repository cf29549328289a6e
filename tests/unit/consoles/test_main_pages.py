"""The main server's pages of rounds, models, devices, the task and the log."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from fanlight.errors import Refused, RemoteError
from fanlight.protocol.exchange import ClassProposal
from fanlight.services.main_server import announcements
from fanlight.services.main_server.app import MainServerParts
from fanlight.services.main_server.class_proposals import MOST_OF_A_DEVICE
from fanlight.storage.tables import main as tables
from tests.unit.consoles.federation import Page, owner, stranger
from tests.unit.main_server.past import BETTER, RECEIVED, add_member, add_report, add_round, measure, server

PATHS = ("/rounds", "/models", "/models/0", "/devices", "/task", "/log")
HOSTILE = ("<script>alert(1)<script>", "\u0646" * 40)


@pytest.fixture
def parts_and_browser(tmp_path: Path) -> tuple[MainServerParts, TestClient]:
    app, parts = server(tmp_path / "federation")
    return parts, owner(app)


@pytest.fixture
def parts(parts_and_browser: tuple[MainServerParts, TestClient]) -> MainServerParts:
    return parts_and_browser[0]


@pytest.fixture
def browser(parts_and_browser: tuple[MainServerParts, TestClient]) -> TestClient:
    return parts_and_browser[1]


@pytest.mark.parametrize("path", PATHS)
def test_pages_are_the_owners_alone(path: str, tmp_path: Path) -> None:
    app, _parts = server(tmp_path / "federation")
    assert stranger(app).get(path).status_code == 303


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/rounds", "No round yet."),
        ("/models", "the start: knows nothing"),
        ("/models/0", "Not measured yet."),
        ("/devices", "No device has joined yet."),
        ("/task", "step by step, by hand"),
        ("/studies", "No study yet."),
        ("/log", "Nothing has been logged yet."),
    ],
)
def test_a_new_server_says_what_there_is_and_what_comes(browser: TestClient, path: str, said: str) -> None:
    response = browser.get(path)
    assert response.status_code == 200
    page = Page.of(response)
    assert said in page.text
    current = [link["href"] for link in page.all("a") if link.get("aria-current") == "page"]
    assert current == ([path] if path != "/models/0" else [])


def test_rounds_lead_to_one_round_and_to_its_versions(parts: MainServerParts, browser: TestClient) -> None:
    add_round(parts, 1)
    add_round(parts, 2, state="failed")
    measure(parts, 1, RECEIVED)
    listed = Page.of(browser.get("/rounds"))
    assert {"/rounds/1", "/rounds/2"} <= {link["href"] for link in listed.all("a")}
    assert "too few" in listed.text
    one = Page.of(browser.get("/rounds/1"))
    assert {"/models/0", "/models/1"} <= {link["href"] for link in one.all("a")}
    assert "100 of 150" in one.text


@pytest.mark.parametrize(
    ("path", "status"),
    [("/rounds/7", 404), ("/models/7", 404), (f"/rounds/{10**30}", 404), ("/models/-1", 404), ("/rounds?page=0", 400)],
)
def test_what_there_is_not(browser: TestClient, path: str, status: int) -> None:
    assert browser.get(path).status_code == status


def test_a_page_beyond_the_last_leads_back(parts: MainServerParts, browser: TestClient) -> None:
    add_round(parts, 1)
    for path in ("/rounds", "/models"):
        page = Page.of(browser.get(f"{path}?page=5"))
        assert "There is no such page." in page.text
        assert path in [link["href"] for link in page.all("a")]


def test_a_model_can_be_downloaded_with_its_card(parts: MainServerParts, browser: TestClient) -> None:
    add_round(parts, 1)
    links = [link["href"] for link in Page.of(browser.get("/models/1")).all("a") if "download" in link]
    kinds = [browser.get(link).headers["content-type"].split(";")[0] for link in links]
    assert kinds == ["application/octet-stream", "application/octet-stream", "text/markdown", "application/json"]


def test_two_versions_are_compared(parts: MainServerParts, browser: TestClient) -> None:
    alone = Page.of(browser.get("/models/0"))
    assert "There is no other version yet." in alone.text
    assert "/models/0" not in [action for action, _fields in alone.forms()]
    for number in (1, 2):
        add_round(parts, number)
    measure(parts, 1, RECEIVED)
    measure(parts, 2, BETTER)
    text = Page.of(browser.get("/models/1?with=0")).text
    for figure in ("86.7 %", "66.7 %", "+20.0"):
        assert figure in text


def test_a_broken_log_is_said_loudly(parts: MainServerParts, browser: TestClient) -> None:
    add_round(parts, 1)
    assert "The chain holds together." in Page.of(browser.get("/log")).text
    with parts.service.database.transaction() as tx:
        tx.execute(update(tables.log).values(payload=b"other"))
    assert "The chain is broken at entry 1." in Page.of(browser.get("/log?again=true")).text


def test_hostile_class_names_are_only_text(tmp_path: Path) -> None:
    app, parts = server(tmp_path / "hostile", classes=HOSTILE)
    add_round(parts, 1)
    measure(parts, 1, RECEIVED)
    plain = len(Page.of(owner(app).get("/log")).all("script"))
    for path in ("/task", "/rounds/1", "/models/0", "/models/0?with=0"):
        page = Page.of(owner(app).get(path))
        assert HOSTILE[0] in page.text
        assert len(page.all("script")) == plain


def post(browser: TestClient, page: str, route: str, **fields: str) -> int:
    """Send a form of a page, which must have it; the status."""
    shown = Page.of(browser.get(page))
    assert route in [action for action, _fields in shown.forms()]
    return int(browser.post(route, data={"csrf": shown.csrf(), **fields}).status_code)


def test_a_version_is_rolled_back_and_noted_by_its_forms(parts: MainServerParts, browser: TestClient) -> None:
    for number in (1, 2):
        add_round(parts, number)
    way_back = {"class": "button", "href": "/models/1/current"}
    for page_of in ("/models", "/models/1"):
        assert way_back in Page.of(browser.get(page_of)).all("a")
        assert "Go back to this version" in Page.of(browser.get(page_of)).text
    assert post(browser, "/models/1/current", "/models/1/current") == 303
    assert "Go forward to this version" in Page.of(browser.get("/models")).text
    assert post(browser, "/models/1", "/models/1/note", text=HOSTILE[0]) == 303
    page = Page.of(browser.get("/models/1"))
    assert "Devices fetch this version." in page.text
    assert HOSTILE[0] in page.text
    assert "back from version 2 to version 1" in " ".join(Page.of(browser.get("/models")).text.split())
    assert browser.post("/models/2/current").status_code == 403


def test_under_an_open_round_the_page_says_what_to_do(parts: MainServerParts, browser: TestClient) -> None:
    add_round(parts, 1)
    add_round(parts, 2, kind="measure", state="open")
    unasked = Page.of(browser.get("/models/0/current"))
    assert "Round 2, to which nobody has sent anything yet, gives way." in unasked.text
    assert ("/models/0/current", {"csrf"}) in unasked.forms()
    add_report(parts, 2, add_member(parts, 1))
    page = Page.of(browser.get("/models/0/current"))
    assert "Abandon round 2" in page.text
    refused = browser.post("/models/0/current", data={"csrf": page.csrf()})
    assert refused.status_code == 409
    assert "or tick “Abandon round 2” on the page of this change" in Page.of(refused).text
    assert parts.records.model(1)["current"]


@pytest.mark.parametrize(
    ("rules", "patience", "told"),
    [
        ({}, 5, "after 5 rounds in a row that made the model no better"),
        ({"rounds": 9}, 0, "after 9 training rounds."),
        ({"patience_rounds": 2}, 2, "after 2 rounds in a row"),
    ],
)
def test_rounds_that_are_let_run_end(
    parts: MainServerParts, browser: TestClient, rules: dict[str, int], patience: int, told: str
) -> None:
    parts.service.change_policy(**rules)
    assert told in " ".join(Page.of(browser.get("/")).text.split())
    assert post(browser, "/", "/task/by-itself", on="yes") == 303
    assert parts.service.task.policy.patience_rounds == patience
    for page in ("/", "/task"):
        assert told in " ".join(Page.of(browser.get(page)).text.split())


def test_the_policy_is_changed_by_its_forms(parts: MainServerParts, browser: TestClient) -> None:
    assert post(browser, "/task", "/task/by-itself", on="yes") == 303
    assert post(browser, "/task", "/task/policy", k_min="7", n_max="70") == 303
    policy = parts.service.task.policy
    assert (policy.by_itself, policy.k_min, policy.n_max, policy.patience_rounds) == (True, 7, 70, 5)
    assert "Switch to steps by hand" in Page.of(browser.get("/task")).text
    for wrong in ("many", "-3", "71"):
        assert post(browser, "/task", "/task/policy", k_min=wrong) == 400
    assert parts.service.task.policy == policy


def test_quiet_hours_are_typed_and_what_is_none_is_marked(parts: MainServerParts, browser: TestClient) -> None:
    assert post(browser, "/task", "/task/policy", quiet_hours=" 22:00-06:00 ", timezone="Europe/Berlin") == 303
    policy = parts.service.task.policy
    assert (policy.quiet_hours, policy.timezone) == ("22:00-06:00", "Europe/Berlin")
    assert "22:00-06:00 (Europe/Berlin)" in Page.of(browser.get("/task")).text
    for field, typed, said in (
        ("quiet_hours", "at night", "'at night' are no hours of a day: write them like 22:00-06:00."),
        ("quiet_hours", "06:00-06:00", "Quiet hours end at another time than they begin"),
        ("timezone", "../../etc/passwd", "'../../etc/passwd' is no time zone"),
        ("timezone", HOSTILE[0], "is no time zone"),
    ):
        response = browser.post("/task/policy", data={"csrf": Page.of(browser.get("/task")).csrf(), field: typed})
        assert response.status_code == 400
        (marked,) = [item for item in Page.of(response).all("input") if "aria-invalid" in item]
        assert (marked["name"], marked["value"]) == (field, typed)
        assert said in Page.of(response).text
    assert parts.service.task.policy == policy
    assert post(browser, "/task", "/task/policy", quiet_hours="") == 303
    assert parts.service.task.policy.quiet is None


def test_rounds_are_paused_and_let_go_on_by_buttons(parts: MainServerParts, browser: TestClient) -> None:
    assert post(browser, "/task", "/task/pause") == 303
    for page in ("/", "/task"):
        text = Page.of(browser.get(page)).text
        assert "Rounds are paused." in text
        assert "No round opens until you let rounds go on." in text
    assert "Pause: open no further round" not in Page.of(browser.get("/task")).text
    assert post(browser, "/", "/go-on") == 303
    assert not parts.service.task.policy.paused
    assert "Rounds are paused." not in Page.of(browser.get("/")).text


def test_a_rule_that_stopped_training_is_told_and_ended(parts: MainServerParts, browser: TestClient) -> None:
    parts.service.change_policy(stop_on_drop_points=10)
    for number, received in enumerate(([[30, 30], [50, 40]], BETTER, RECEIVED), 1):
        add_round(parts, number)
        measure(parts, number, received)
    with parts.service.database.transaction() as tx:
        assert parts.conductor.course.stop(tx)
    text = Page.of(browser.get("/")).text
    assert "Stopped: the accuracy dropped." in text
    assert "Version 2 named 66.7 % of the held-out pictures rightly, version 1 had named 86.7 %." in text
    assert "the accuracy had dropped" in Page.of(browser.get("/models")).text
    assert post(browser, "/", "/go-on") == 303
    assert "Stopped" not in Page.of(browser.get("/")).text


@pytest.mark.parametrize(
    ("field", "typed", "said"),
    [
        ("k_min", "many", "This is no whole number: 'many'."),
        ("wait_s", "0", "From 1 to 86,400 seconds, not 0."),
        ("k_min", "2000", "At least as many as the fewest devices in a sum: 2,000."),
        ("cohort_size", "3", "0, or at least as many as the fewest devices in a sum: 5."),
        (
            "update_bits",
            "8",
            "An update cannot be packed in 8 bits for 1000 devices. Set its width to 10 to 23 bits, or to",
        ),
        (
            "update_bits",
            "23",
            "Set the largest cohort to at most 256 devices, the update's width to at most 21 bits, or",
        ),
        ("most_pictures", "0", "From 1 to 10,000, not 0."),
        ("k_min", HOSTILE[0], HOSTILE[0]),
    ],
)
def test_a_wrong_number_is_kept_and_marked(browser: TestClient, field: str, typed: str, said: str) -> None:
    shown = Page.of(browser.get("/task"))
    response = browser.post("/task/policy", data={"csrf": shown.csrf(), field: typed, "window_s": "77"})
    assert response.status_code == 400
    page = Page.of(response)
    kept = {item["name"]: item for item in page.all("input") if item.get("type") == "number"}
    assert (kept[field]["value"], kept["window_s"]["value"]) == (typed, "77")
    (marked,) = [item for item in kept.values() if "aria-invalid" in item]
    assert f"wrong-{marked['name']}" in marked["aria-describedby"]
    assert said in page.text
    assert "Nothing was changed." in page.text


def test_times_are_typed_in_the_unit_that_fits(parts: MainServerParts, browser: TestClient) -> None:
    def unit(page: Page, name: str) -> str:
        ((_tag, attributes),) = [one for one in page.elements if one[0] == "select" and one[1]["name"] == f"{name}_in"]
        assert attributes["aria-label"].endswith(": unit")
        return attributes["name"]

    page = Page.of(browser.get("/task"))
    values = {item["name"]: item["value"] for item in page.all("input") if item.get("type") == "number"}
    assert (values["wait_s"], values["window_s"]) == ("2", "0")
    rules = {"wait_s": "3", unit(page, "wait_s"): "hours", "window_s": "2", unit(page, "window_s"): "days"}
    assert post(browser, "/task", "/task/policy", **rules) == 303
    policy = parts.service.task.policy
    assert (policy.wait_s, policy.window_s) == (3 * 3600, 2 * 86_400)
    response = browser.post("/task/policy", data={"csrf": page.csrf(), "wait_s": "25", "wait_s_in": "hours"})
    assert "From 1 to 86,400 seconds, not 90,000." in Page.of(response).text
    assert '<option value="hours" selected>hours</option>' in response.text
    assert policy == parts.service.task.policy


def test_proposed_classes_are_shown_and_dismissed(parts: MainServerParts, browser: TestClient) -> None:
    device = {"dev": b"d" * 16, "public_key": b"p" * 32, "token_key": b"t" * 32, "name": HOSTILE[0]}
    with parts.service.database.transaction() as tx:
        tx.execute(tables.devices.insert().values(**device, enrolment=b"", enrolled_at=1))
    for name in ("fox", "fox", HOSTILE[0].replace("/", "")):
        announcements.take_class_proposal(parts.service, b"d" * 16, ClassProposal(name=name).encode())
    assert [entry["name"] for entry in parts.records.class_proposals()] == ["fox", HOSTILE[0]]
    assert HOSTILE[0] in Page.of(browser.get("/task")).text
    assert post(browser, "/task", "/task/proposals/dismiss", name="fox") == 303
    assert [entry["name"] for entry in parts.records.class_proposals()] == [HOSTILE[0]]


@pytest.mark.parametrize("name", ["cat", "a/b", " fox", "a\nb"])
def test_what_cannot_be_proposed(parts: MainServerParts, name: str) -> None:
    with pytest.raises(RemoteError):
        announcements.take_class_proposal(parts.service, b"d" * 16, ClassProposal(name=name).encode())


def test_a_device_cannot_fill_the_page_with_proposals(parts: MainServerParts) -> None:
    device = {"dev": b"d" * 16, "public_key": b"p" * 32, "token_key": b"t" * 32, "name": "porch"}
    with parts.service.database.transaction() as tx:
        tx.execute(tables.devices.insert().values(**device, enrolment=b"", enrolled_at=1))
    for number in range(MOST_OF_A_DEVICE):
        announcements.take_class_proposal(parts.service, b"d" * 16, ClassProposal(name=f"fox {number}").encode())
    with pytest.raises(Refused, match="may propose"):
        announcements.take_class_proposal(parts.service, b"d" * 16, ClassProposal(name="one more").encode())


def test_a_round_is_given_up_by_its_button(parts: MainServerParts, browser: TestClient) -> None:
    add_round(parts, 1)
    add_round(parts, 2, state="open")
    add_member(parts, 1, name=HOSTILE[0])
    shown = Page.of(browser.get("/rounds/2"))
    assert HOSTILE[0] in shown.text
    assert "No sum of round 2 is released" in " ".join(shown.text.split())
    assert post(browser, "/rounds/2", "/rounds/2/abandon") == 303
    page = Page.of(browser.get("/rounds/2"))
    assert "Round 2 is being abandoned" in page.text
    assert "/rounds/2/abandon" not in [action for action, _fields in page.forms()]
    refused = next(step for step in parts.overview.steps() if step.route == "/aggregate_models")
    assert (refused.possible, refused.reason) == (False, "Round 2 is being abandoned.")
    assert browser.post("/rounds/1/abandon", data={"csrf": shown.csrf()}).status_code == 409
    assert browser.post("/rounds/2/abandon").status_code == 403


def test_when_reports_are_added_up_in_shards_is_one_of_three(parts: MainServerParts, browser: TestClient) -> None:
    assert post(browser, "/task", "/task/policy", shards="always", most_shards="8") == 303
    assert (parts.service.task.policy.shards, parts.service.task.policy.most_shards) == ("always", 8)
    page = Page.of(browser.get("/task"))
    assert "always, in up to 8" in page.text
    selected = [option["value"] for option in page.all("option") if {"selected", "value"} <= option.keys()]
    assert selected[:4] == ["softmax", "efficientnet-lite0", "fedavg", "mean"]
    assert [value for value in selected if value in {"never", "after-failure", "always"}] == ["always"]
    refused = browser.post("/task/policy", data={"csrf": page.csrf(), "shards": HOSTILE[0]})
    assert refused.status_code == 400
    assert "Input should be 'never', 'after-failure' or 'always'." in Page.of(refused).text
    assert parts.service.task.policy.shards == "always"


def test_the_algorithm_is_chosen_on_the_page_of_the_task(parts: MainServerParts, browser: TestClient) -> None:
    assert post(browser, "/task", "/task/algorithm", name="fedprox", combine="mean") == 303
    assert post(browser, "/task", "/task/algorithm", name="fedprox", mu="0.25", combine="mean") == 303
    assert parts.service.task.algorithm.values == {"mu": 0.25}
    page = Page.of(browser.get("/task"))
    assert "FedProx (Li et al. 2020, 1812.06127)" in page.text
    refused = browser.post("/task/algorithm", data={"csrf": page.csrf(), "name": "fedprox", "mu": HOSTILE[0]})
    assert refused.status_code == 400
    assert "This is no number" in Page.of(refused).text
    assert browser.post("/task/algorithm", data={"name": "fedavg"}).status_code == 403
    assert parts.service.task.algorithm.values == {"mu": 0.25}


def test_how_pictures_are_varied_is_chosen_on_the_page_of_the_task(parts: MainServerParts, browser: TestClient) -> None:
    assert "devices learn from pictures as they are" in Page.of(browser.get("/task")).text
    assert post(browser, "/task", "/task/augmentation", variants="3", flip="no", zoom_percent="10") == 303
    page = Page.of(browser.get("/task"))
    assert "3 variants" in page.text
    assert "a part narrower by up to 10 %" in page.text
    refused = browser.post("/task/augmentation", data={"csrf": page.csrf(), "variants": HOSTILE[0]})
    assert refused.status_code == 400
    assert "From 0 to 16, not" in Page.of(refused).text
    assert browser.post("/task/augmentation", data={"variants": "1"}).status_code == 403
    assert parts.service.task.augmentation.variants == 3


def test_by_what_classes_weigh_is_chosen_on_the_page_of_the_task(parts: MainServerParts, browser: TestClient) -> None:
    counts = list(range(7, 7 + len(parts.service.task.classes)))
    typed = {"by": "federation", "counts": ",".join(str(count) for count in counts)}
    assert post(browser, "/task", "/task/class-weights", **typed) == 303
    page = Page.of(browser.get("/task"))
    assert "by the pictures of the whole federation" in page.text
    assert parts.service.task.training.class_counts == tuple(counts)
    refused = browser.post("/task/class-weights", data={"csrf": page.csrf(), "by": "federation", "counts": HOSTILE[0]})
    assert refused.status_code == 400
    assert "with commas between them" in Page.of(refused).text
    assert browser.post("/task/class-weights", data={"by": "off"}).status_code == 403
    changed = browser.get("/api/v1/class-weights").json()
    assert changed == {"class_weights": True, "class_counts": counts}
