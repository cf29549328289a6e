"""A device's pages say which model answers: the home's own, where the algorithm gives it one, or the global one."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import update

from fanlight.storage.tables.device import memories
from tests.unit.consoles.federation import Page
from tests.unit.consoles.joined_device import joined_device
from tests.unit.consoles.test_device_learning import jpeg, try_it
from tests.unit.consoles.test_device_pictures import latest, png, press, put_in
from tests.unit.device.joined import done, turn
from tests.unit.device.own_models import ditto_federation, takes_part, version

OWN = "This home's own model (Ditto, learned in round 1)"


def test_pages_say_whose_model_answers(tmp_path: Path) -> None:
    federation = ditto_federation(tmp_path / "federation")
    browser, role = joined_device(federation, tmp_path)

    def text(path: str) -> str:
        return " ".join(Page.of(browser.get(path)).text.split())

    turn(role)
    role.library.refresh()
    answers = "the model of all devices, answers here: it makes the suggestions, and own names stand on it."
    assert f"Version 0, {answers}" in text("/learning")
    put_in(browser, ("a.png", png(1)), ("b.png", png(2)))
    takes_part(federation, role, version(1, (1, 1)))
    learning = text("/learning")
    assert f"{OWN} answers here: it makes the suggestions, own names stand on it, and fanlight predict" in learning
    assert "and fanlight export take it. It is from 2023-11-14" in learning
    assert "With --shared they take version 1, the model of all devices." in learning
    press(browser, do="suggest")
    done(role, latest(role))
    assert f"{OWN} takes them for that" in text("/pictures?state=suggested")
    tried = Page.of(try_it(browser, jpeg(30))).text
    assert OWN in tried
    assert "This device's own model" not in tried
    assert browser.get("/api/v1/learning").json()["answers"]["own"]["round"] == 1
    done(role, role.home.learn())
    assert "on top of this home's own model of round 1." in text("/own")
    takes_part(federation, role, version(2, (1, 2)))
    assert "2 suggestions are from another model; this home's own of round 2 is here" in text(
        "/pictures?state=suggested"
    )
    role.stop()


def test_pages_work_though_the_own_model_is_damaged(tmp_path: Path) -> None:
    """Most of all those where one labels."""
    federation = ditto_federation(tmp_path / "federation")
    browser, role = joined_device(federation, tmp_path)
    turn(role)
    role.library.refresh()
    takes_part(federation, role, version(1, (1, 1)))
    put_in(browser, ("a.png", png(1)))
    press(browser, do="suggest")
    done(role, latest(role))
    with role.store.database.transaction() as tx:
        tx.execute(update(memories).values(content=b"\0"))
    picture = next(iter(role.library.suggestions())).sha256
    pages = ["/", "/learning", "/own", "/pictures", "/pictures?state=suggested", f"/pictures/{picture}"]
    for which in ("own", "global"):  # neither is the damaged one: the own figures are of what was trained here last
        pages += [f"/learning/pictures?model={which}&shows=0&named=0", f"/pictures/{picture}?cell={which}-0-0"]
    assert {path: browser.get(path).status_code for path in pages} == dict.fromkeys(pages, 200)
    assert browser.get("/api/v1/learning").json()["answers"] is None
    tried = try_it(browser, jpeg(30))
    assert tried.status_code == 422
    assert "What Ditto had this device remember of round 1 is damaged, its own model with it" in tried.text
    assert "Ask the operator for another algorithm, or let this device leave and join anew." in tried.text
    press(browser, picture=[picture], assign="dark")
    assert role.library.picture(picture).label == "dark"
    role.stop()
