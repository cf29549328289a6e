"""Names that somebody means badly: for tests of everything that shows, logs or prints a name."""

from __future__ import annotations

from typing import Final

MARK: Final = "x-hostile"
"""An element of this name can only have been made from one of these texts."""
SCRIPT: Final = f"<{MARK}></{MARK}><script>window.hit=1</script>"
ELEMENT: Final = f"\"'><img src=x onerror=window.hit=1><{MARK} onclick=window.hit=1>"
TEMPLATE: Final = "{{ 7*7 }}{% raise %}${7*7}"
TURNED: Final = "\u202egnp.exe"
"""Right-to-left override that nothing ends."""
LEFT_OPEN: Final = "\u2067\u2066שלום"
TERMINAL: Final = "\x1b[2J\x1b]0;owned\x07\x9b31m"
LINES: Final = "one\nlevel=error event=forged\r\u2028two\x00"
MARKDOWN: Final = "[x](javascript:1) ![x](http://a.b/c) <b>**b**</b> http://a.b a@b.com | `c` ``d``\n# e\n- f\n<!-- g"
LONG: Final = "W" * 10_000
"""Without a place to break a line at."""

TEXTS: Final = {
    "script": SCRIPT,
    "element": ELEMENT,
    "template": TEMPLATE,
    "turned": TURNED,
    "left-open": LEFT_OPEN,
    "terminal": TERMINAL,
    "lines": LINES,
    "markdown": MARKDOWN,
    "long": LONG,
}
