"""A finger on the screen, by the browser's own input events."""

from __future__ import annotations

from playwright.sync_api import Locator, Page


class Finger:
    """Touches a page whose context has touch."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._session = page.context.new_cdp_session(page)
        self._at = (0.0, 0.0)

    def down(self, on: Locator) -> None:
        """Put it on the middle of something that is in view, and leave it there."""
        self._at = _middle(on)
        self._send("touchStart", [self._at])

    def move(self, down: float) -> None:
        """Draw it down the screen by so many pixels (up, where negative)."""
        start = self._at
        for step in range(1, 11):
            self._at = (start[0], start[1] + down * step / 10)
            self._send("touchMove", [self._at])

    def up(self) -> None:
        """Lift it."""
        self._send("touchEnd", [])

    def tap(self, on: Locator) -> None:
        """Down and up, told at once: on a busy machine two tellings are so far apart that it would be held."""
        self._page.touchscreen.tap(*_middle(on))

    def hold_without_click(self, on: Locator, ms: int) -> None:
        """Down for a while and up, in a browser that sends no click after that, as those of phones do."""
        x, y = _middle(on)
        gesture = {"x": x, "y": y, "duration": ms, "gestureSourceType": "touch"}
        self._session.send("Input.synthesizeTapGesture", gesture)

    def _send(self, kind: str, points: list[tuple[float, float]]) -> None:
        places = [{"x": x, "y": y} for x, y in points]
        self._session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})


def _middle(on: Locator) -> tuple[float, float]:
    box = on.bounding_box()
    assert box is not None, "it is not there"
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
