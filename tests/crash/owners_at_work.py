"""A scenario in which the owners of all roles change what they may, and every change that was acknowledged holds."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.crash.federation import Federation
from tests.crash.role import until

_FIRST_DEVICE = "device-1"
_OWN = "/api/v1/own"
_PICTURES = "/api/v1/pictures"
_LABELLED = f"{_PICTURES}?state=labelled&size=500"
_PROPOSALS = "/api/v1/class-proposals"


@dataclass(frozen=True)
class _Promise:
    """What an owner was told is so: ``read`` takes it from what the role says at ``path``."""

    role: str
    path: str
    read: Callable[[Any], Any]
    wanted: Any


class OwnersAtWork(Federation):
    """Rules and notes at main, wishes, labels and own names at a device; main's owner ends the round by hand."""

    def __init__(self, folder: Path, pictures: tuple[Path, ...]) -> None:
        own = tuple(folder / f"pictures-{number}" for number, _ in enumerate(pictures))
        for source, copy in zip(pictures, own, strict=True):
            shutil.copytree(source, copy)
        super().__init__(folder, own)
        self._turn = 0
        self._promises: dict[str, _Promise] = {}

    def cycle(self) -> None:
        """All changes, a round by the changed rules, and a look whether each of them is still so."""
        self._turn += 1
        self._main_changes()
        self._wishes_change()
        self._labels_change()
        self._own_names_change()
        self._a_class_is_proposed()
        self.learn()
        self.rest()
        for promise in self._promises.values():  # a device may still be looking through its folder
            what = f"{promise.role} still says what it said of {promise.path}"
            until(partial(self._is_kept, promise), what, self.summary)

    def _finish(self) -> None:
        """Steps 4 to 6 at main, instead of at the aggregator."""
        self.press("main", "/aggregate_models")
        self.press("main", "/send_model_clients")

    # -- what is changed

    def _main_changes(self) -> None:
        odd = self._turn % 2
        window_s = 3_000 + self._turn
        self._change("main", "PUT", "/api/v1/policy", {"window_s": window_s, "paused": True})
        self._change("main", "POST", "/api/v1/go-on")
        self._promise("main", "/api/v1/policy", lambda said: (said["window_s"], said["paused"]), (window_s, False))
        algorithm = {"name": "fedprox", "parameters": {"mu": 0.1}} if odd else {"name": "fedavg"}
        self._change("main", "PUT", "/api/v1/algorithm", algorithm)
        self._promise("main", "/api/v1/algorithm", lambda said: said["name"], algorithm["name"])
        light, zoom = divmod(self._turn, 50)  # each time other ones, for which features are worked out and kept
        self._has("main", "/api/v1/augmentation", "zoom_percent", 1 + zoom, light_percent=light % 50, variants=1)
        self._has("main", "/api/v1/class-weights", "class_weights", not odd)
        note = f"note {self._turn}"
        self._change("main", "PUT", "/api/v1/models/0/note", {"text": note})
        self._promise("main", "/api/v1/models", lambda said: said["models"][0]["note"], note)

    def _wishes_change(self) -> None:
        floors = {"k_min": 2, "accept_demo": True, "answers_per_day": 900 + self._turn % 90, "r_max_percent": 34}
        self._change(_FIRST_DEVICE, "PUT", "/api/v1/floors", floors)
        self._change(_FIRST_DEVICE, "PUT", "/api/v1/paused", {"on": True})
        until(self._somebody_declines, "a round opens, and main hears that the device pauses", self.summary)
        self._change(_FIRST_DEVICE, "PUT", "/api/v1/paused", {"on": False})
        wanted = floors | {"paused": False}
        self._promise(_FIRST_DEVICE, "/api/v1/wishes", lambda said: {name: said[name] for name in wanted}, wanted)

    def _labels_change(self) -> None:
        """One picture gets another label; another one is deleted, and comes back."""
        page = until(lambda: self._asked(_FIRST_DEVICE, _LABELLED), "it shows pictures")
        (moved, before), (deleted, kept) = (
            (picture["sha256"], picture["label"]) for picture in (page["pictures"][0], page["pictures"][-1])
        )
        classes = [name for name in self.task.classes if name != before]
        label = classes[self._turn % len(classes)]
        self._relabel("assign", moved, label)
        self._relabel("delete", deleted, None)
        self._relabel("restore", deleted, kept)
        self._promise(
            _FIRST_DEVICE, _LABELLED, lambda said: [_label_in(said, each) for each in (moved, deleted)], [label, kept]
        )

    def _relabel(self, action: str, sha256: str, label: str | None) -> None:
        """Until it is so: a device that has died between a file's moving and its index finds out where the file is.

        An owner who asks meanwhile for what seems to be so already is told that nothing was done.
        """

        def done() -> bool:
            content = {"pictures": [sha256], "label": label or ""}
            self._tells(_FIRST_DEVICE, "POST", f"{_PICTURES}/{action}", content)
            said = self._asked(_FIRST_DEVICE, _LABELLED)
            return said is not None and _label_in(said, sha256) == label

        until(done, f"{action} is done", self.summary)

    def _own_names_change(self) -> None:
        """One is given, changed, and taken away; the next one stays until the next cycle."""
        known = until(lambda: self._asked(_FIRST_DEVICE, _OWN), "it says its own names")["names"]
        for each in known:
            self._change(_FIRST_DEVICE, "DELETE", f"{_OWN}/{each['number']}")
        first, second = f"cat {self._turn}", f"car {self._turn}"
        number = until(lambda: self._number_of(first) or self._named(first), f"{first} has a number", self.summary)
        self._change(_FIRST_DEVICE, "PUT", f"{_OWN}/{number}", {"name": second})
        self._promise(_FIRST_DEVICE, _OWN, lambda said: [each["name"] for each in said["names"]], [second])

    def _a_class_is_proposed(self) -> None:
        """A device proposes two, and main's owner will not have one of them."""
        fox, owl = f"fox {self._turn}", f"owl {self._turn}"
        for name in (fox, owl):
            self._change(_FIRST_DEVICE, "POST", f"{_PICTURES}/class-proposals", {"label": name})
        for name in (owl, f"fox {self._turn - 1}"):
            self._change("main", "DELETE", f"{_PROPOSALS}?name={name}")
        self._promise("main", _PROPOSALS, lambda said: [each["name"] for each in said["proposals"]], [fox])

    # -- how

    def _somebody_declines(self) -> bool:
        newest = (self._asked("main", "/api/v1/status") or {}).get("round")
        line = newest and self._asked("main", f"/api/v1/rounds/{newest['round']}/timeline")
        return bool(line and line["declined"])

    def _change(self, name: str, method: str, path: str, content: dict[str, Any] | None = None) -> None:
        """Until it is acknowledged; a second time may find it done."""

        def done() -> bool:
            tells = self._tells(name, method, path, content)
            return tells or (method == "DELETE" and "not-found" in self.refused(name))

        until(done, f"{name} has done {path}", self.summary)

    def _tells(self, name: str, method: str, path: str, content: dict[str, Any] | None = None) -> bool:
        self.revive()
        return self.tell(name, method, path, content)

    def _has(self, name: str, path: str, field: str, wanted: Any, **more: Any) -> None:
        self._change(name, "PUT", path, {field: wanted, **more})
        self._promise(name, path, lambda said: said[field], wanted)

    def _promise(self, role: str, path: str, read: Callable[[Any], Any], wanted: Any) -> None:
        self._promises[f"{role} {path}"] = _Promise(role, path, read, wanted)

    def _asked(self, name: str, path: str) -> Any:
        self.revive()
        return self.ask(name, path)

    def _is_kept(self, promise: _Promise) -> bool:
        said = self._asked(promise.role, promise.path)
        return said is not None and promise.read(said) == promise.wanted

    def _named(self, name: str) -> int | None:
        """Only if it is not known: who died before the answer may have kept it, and refuses a second one."""
        return self._number_of(name) if self._tells(_FIRST_DEVICE, "POST", _OWN, {"name": name}) else None

    def _number_of(self, name: str) -> int | None:
        names = (self._asked(_FIRST_DEVICE, _OWN) or {}).get("names", [])
        return next((each["number"] for each in names if each["name"] == name), None)


def _label_in(said: Any, sha256: str) -> str | None:
    """Of a picture among those that have one."""
    return next((picture["label"] for picture in said["pictures"] if picture["sha256"] == sha256), None)
