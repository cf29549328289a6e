"""Receipts that prove something against the aggregator: it had a report, and left it out of its list."""

from __future__ import annotations

from collections.abc import Iterator

from fanlight.errors import FanlightError, MalformedMessage
from fanlight.protocol.audit import words
from fanlight.protocol.audit.findings import Finding, Flaw
from fanlight.protocol.audit.source import LogSource
from fanlight.protocol.identities import Role, Trust
from fanlight.protocol.log import ChainedEntry
from fanlight.protocol.report import Receipt, report_id


def unlisted(source: LogSource, trust: Trust, receipts: list[tuple[int, Receipt]]) -> Iterator[Finding]:
    """Receipts for reports that the aggregator then left out of its list, or replaced: the log is read once more.

    Args:
        source: main's log, which holds the aggregator's signed lists.
        trust: the servers' keys.
        receipts: verified, with their entries.
    """
    wanted: dict[bytes, list[tuple[int, Receipt]]] = {}
    for number, receipt in receipts:
        wanted.setdefault(receipt.mh, []).append((number, receipt))
    try:
        for entry in source.entries() if wanted else ():
            if entry.type == "close":
                yield from _left_out(entry, trust, wanted)
    except MalformedMessage:
        return  # said before


def _left_out(entry: ChainedEntry, trust: Trust, wanted: dict[bytes, list[tuple[int, Receipt]]]) -> Iterator[Finding]:
    try:
        close, _ = words.close(trust, entry.payload)
    except FanlightError:
        return
    listed = {(report.device, report_id(report.header)) for report in close.reports}
    for number, receipt in wanted.pop(close.mh, ()):
        if (receipt.device, receipt.report_id) not in listed:
            yield Finding(
                Flaw.UNLISTED,
                Role.MAIN,
                f"The aggregator gave device {receipt.device.hex()} a receipt (entry {number}) for a report that its "
                f"list of the round (entry {entry.number}) leaves out.",
                Role.AGGREGATOR,
                number,
            )
