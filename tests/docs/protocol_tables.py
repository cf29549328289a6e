"""The parts of ``docs/protocol.md`` that the code says itself: messages, transitions, limits, refusals.

Each part is a block of the page, between ``<!-- generated: NAME -->`` and ``<!-- end -->``; ``filled`` writes them.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from functools import partial
from types import ModuleType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from fanlight import errors
from fanlight.core import segments
from fanlight.learning import model_file
from fanlight.learning.backbones import BACKBONES
from fanlight.protocol import (
    aggregator_round,
    closing,
    codec,
    contribution,
    device_round,
    digests,
    exchange,
    identities,
    log,
    main_round,
    manifest,
    plan,
    report,
)
from fanlight.protocol.message import Message
from fanlight.protocol.transitions import Table
from fanlight.services.aggregator import main_client, upload_body, uploads
from fanlight.services.http import nonces, problems, remote, signature_profile
from fanlight.services.main_server import class_proposals, news, pace, presence, protocol_api, release_body
from fanlight.services.server import membership_api
from tests.docs import catching_up_moves

MESSAGES: Final = (identities, exchange, plan, manifest, report, closing, log)
"""Modules with messages that travel."""
MACHINES: Final[dict[str, Table[Any, Any]]] = {
    "main": main_round.TABLE,
    "aggregator": aggregator_round.TABLE,
    "preparation": device_round.PREPARATION,
    "delivery": device_round.DELIVERY,
}
SPEAKERS: Final = {
    "every party": ("protocol.manifest", "protocol.sealing"),
    "device": ("protocol.device", "protocol.contribution", "services.device.offers", "services.device.download",
               "services.device.client", "services.device.rounds"),
    "aggregator": ("protocol.aggregator", "services.aggregator.reception", "services.aggregator.upload_body",
                   "services.aggregator.uploads", "services.aggregator.round_table"),
    "main": ("protocol.main_server", "protocol.unmasking", "services.main_server.rounds",
             "services.main_server.outcomes", "services.main_server.why_not", "services.main_server.round_table",
             "services.main_server.class_proposals"),
    "both servers": ("protocol.identities", "protocol.catching_up", "services.server.membership",
                     "services.http.bodies", "services.http.nonces", "services.http.room", "services.http.signatures"),
}  # fmt: skip
"""Who refuses something with the slugs of which modules; whole sentences of owners' pages are not among them."""
_BLOCK: Final = re.compile(r"(<!-- generated: ([a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_SUPERSCRIPTS: Final = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def filled(page: str) -> str:
    """The page with every block as the code says it now; raises ``KeyError`` for a block that there is not."""
    return _BLOCK.sub(lambda found: f"{found[1]}\n{BLOCKS[found[2]]()}\n\n{found[3]}", page)


def blocks_of(page: str) -> list[str]:
    """The names of the blocks on the page."""
    return [found[2] for found in _BLOCK.finditer(page)]


# ---- messages


def messages_of(module: ModuleType) -> list[type[Message]]:
    """The message classes that a module defines, in its order."""
    found = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, Message)]
    return [kind for kind in found if kind.__module__ == module.__name__]


def _message_block(module: ModuleType) -> str:
    return "\n\n".join(_message(kind) for kind in messages_of(module))


def _message(kind: type[Message]) -> str:
    text = inspect.cleandoc(kind.__doc__ or "")
    prose, _, _ = text.partition("\n\nAttributes:")
    meanings = _meanings(text)
    head = "| key | field | value |" + (" meaning |" if meanings else "") + "\n|---|---|---|" + "---|" * bool(meanings)
    rows = [
        f"| {key} | `{name}` | {_value_of(field)} |" + (f" {meanings.get(name, '')} |" if meanings else "")
        for key, (name, field) in enumerate(kind.model_fields.items(), start=1)
    ]
    return "\n".join((f"#### {kind.__name__}\n", _plain(prose), "", head, *rows))


def _meanings(text: str) -> dict[str, str]:
    """Meaning by field, from the ``Attributes:`` of a docstring; several fields may share a line."""
    found: dict[str, str] = {}
    _, _, listed = text.partition("\n\nAttributes:\n")
    for names, meaning in re.findall(r"^ {4}([a-z0-9_, ]+): (.+(?:\n {8}.+)*)", listed, re.MULTILINE):
        parts = re.split(r"(?<=[.;]) ([a-z_]+): ", " ".join(meaning.split()))  # "a: one; b: other." is two fields
        for name in names.split(","):
            found[name.strip()] = _cell(parts[0])
        found.update({name: _cell(said) for name, said in zip(parts[1::2], parts[2::2], strict=True)})
    return found


def _plain(text: str) -> str:
    return " ".join(text.replace("``", "`").split())


def _cell(text: str) -> str:
    return _plain(text).rstrip(".;").replace("|", "\\|")


def _value_of(field: FieldInfo) -> str:
    optional = not field.is_required()
    return _value(field.annotation, field.metadata) + (", may be absent" if optional else "")


def _value(annotation: Any, metadata: Sequence[Any]) -> str:
    """A field's type and bounds in words."""
    annotation, metadata = unwrapped(annotation, metadata)
    bounds = bounds_of(metadata)
    size = _range(bounds.get("min_length"), bounds.get("max_length"))
    if get_origin(annotation) is tuple:
        return f"array of {_value(get_args(annotation)[0], ())}" + (f", {size} entries" if size else "")
    if issubclass(annotation, Message):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    if annotation is int:
        low, high = bounds["ge"], bounds.get("le", bounds.get("lt", 0) - 1)
        return str(low) if low == high else f"integer, {low} to {_number(high)}"
    named = {bytes: f"{size} bytes".strip(), str: f"text, {size} characters", bool: "boolean"}
    return {**named, segments.Segment: "[segment](#segments)"}[annotation]


def bounds_of(metadata: Sequence[Any]) -> dict[str, int]:
    """The bounds of a field's value or length, by the names that pydantic gives them."""
    return {key: getattr(item, key) for item in metadata for key in _BOUNDS if getattr(item, key, None) is not None}


def unwrapped(annotation: Any, metadata: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
    """A type without ``Annotated`` and ``None``, and all that is said about it."""
    args = get_args(annotation)
    if get_origin(annotation) is Annotated:
        said = [inner for item in args[1:] for inner in getattr(item, "metadata", [item])]
        return unwrapped(args[0], [*said, *metadata])
    if get_origin(annotation) in (Union, UnionType):
        return unwrapped(next(arg for arg in args if arg is not type(None)), metadata)
    return annotation, metadata


_BOUNDS: Final = ("ge", "le", "lt", "min_length", "max_length")


def _range(low: int | None, high: int | None) -> str:
    if high is None:
        return ""
    return str(high) if low == high else f"{low} to {_number(high)}" if low else f"at most {_number(high)}"


def _number(value: int) -> str:
    """Powers of two as such; others with commas."""
    for offset, sign in ((0, ""), (1, "−1")):
        power = value + offset
        if power > 1 << 12 and power & (power - 1) == 0:
            return f"2{str(power.bit_length() - 1).translate(_SUPERSCRIPTS)}{sign}"
    return f"{value:,}"


# ---- transitions


def _diagram(table: Table[Any, Any]) -> str:
    """What leads to another state, as a diagram; a table says the rest."""
    kinds: list[type[StrEnum]] = [type(part) for part in next(iter(table.moves))]
    states, events = (list(kind) for kind in kinds)
    arrows: dict[tuple[str, str], list[str]] = {}
    for (state, event), following in table.moves.items():
        if state is not following:
            arrows.setdefault((state.value, following.value), []).append(event.name)
    ends = [state.value for state in states if state.value not in {start for start, _ in arrows}]
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {states[0].value}"]
    lines += [f"    {start} --> {end}: {', '.join(names)}" for (start, end), names in arrows.items()]
    lines += [f"    {end} --> [*]" for end in ends]
    head = [f"| in \\ event | {' | '.join(event.name for event in events)} |", "|---" * (len(events) + 1) + "|"]
    rows = [f"| **{state.value}** | {' | '.join(_move(table, state, event) for event in events)} |" for state in states]
    return "\n".join([*lines, "```", "", *head, *rows])


def _move(table: Table[Any, Any], state: Any, event: Any) -> str:
    following = table.moves.get((state, event))
    return "" if following is None else "same" if following is state else following.value


# ---- limits


def _limits() -> str:
    mib, rows = 1 << 20, []
    for what, value in (
        ("a message, unless said otherwise", f"{codec.DEFAULT_LIMIT // mib} MiB"),
        ("arrays and maps within one another", codec.MAX_DEPTH),
        ("a close, a verdict", f"{closing.CLOSE_LIMIT // mib} MiB"),
        ("main's answer to the aggregator, but for `Words`", f"{main_client._REPLY_LIMIT // mib} MiB"),
        ("`Words`, either way", f"{closing.RECORD_LIMIT // mib} MiB"),
        ("an envelope", f"{report.ENVELOPE_LIMIT:,} bytes"),
        ("an enrolment, change of key, leaving, revocation, receipt, readiness, word of refusal, outcome",
         f"{membership_api.SMALL_BODY:,} bytes"),
        ("a release before Y, its length of 4 bytes included", f"{release_body.RELEASE_FRONT_LIMIT:,} bytes"),
        ("a problem (answer with an error)", f"{remote.PROBLEM_LIMIT // 1024} KiB"),
        ("a model file", f"{model_file.MAX_MODEL_BYTES // mib} MiB"),
        ("y in one request", f"{report.WHOLE_BYTES // mib} MiB"),
        ("a chunk of y", f"{digests.VECTOR_CHUNK_BYTES // mib} MiB"),
        ("numbers of a vector; its words", f"{_number(segments.MOST_WORDS)} each"),
        ("n_max, for which a close still fits", f"{manifest.MOST_DEVICES:,}"),
        ("Q", f"{segments.FEWEST_STEPS} to {_number(segments.MOST_STEPS)}"),
        ("u, bits of a packed update", f"{segments.FEWEST_UPDATE_BITS} to {segments.MOST_UPDATE_BITS}"),
        ("shards of a round", f"2 to {manifest.MOST_SHARDS}"),
        ("W_max, training pictures of a device that count", f"{contribution.W_MAX:,}"),
        ("B, test pictures of a device in one cell", f"{contribution.COUNT_MAX:,}"),
        ("classes a device may propose", class_proposals.MOST_OF_A_DEVICE),
        ("wait of a long-poll that may be asked for", f"{protocol_api.LONGEST_WAIT_S:g} s"),
        ("wait for an offer before it is answered in any case", f"{pace.LONGEST_OFFER_WAIT_S:g} s"),
        ("silence after which a device counts as away, pauses not counted", f"{presence.PRESENT_S:g} s"),
        ("`pause_s`", f"{exchange.LONGEST_PAUSE_S:,} s"),
        ("long-polls of one device at a time; of all", f"{news.WAITING_EACH}; {news.WAITING:,}"),
        ("uploads of one device at a time; bytes of all in memory",
         f"{uploads.AT_ONCE}; {uploads.HELD_BYTES // mib} MiB"),
        ("silence within an upload", f"{upload_body.PATIENCE_S:g} s"),
        (f"rate of an upload, after {upload_body.GRACE_S:g} s of grace", f"{upload_body.SLOWEST_RATE:,} bytes/s"),
        ("age of a request's signature, and its distance from the server's clock", f"{signature_profile.WINDOW_S} s"),
        ("nonces in use of one key; of all", _nonces()),
        ("the same of keys that enrol", f"{membership_api.STRANGERS_PER_KEY}; {membership_api.STRANGERS_IN_ALL:,}"),
    ):  # fmt: skip
        rows.append(f"| {what} | {value} |")
    return "\n".join(("| what | limit |", "|---|---|", *rows))


def _nonces() -> str:
    given = inspect.signature(nonces.NonceWindow).parameters
    return f"{given['per_key'].default:,}; {given['total'].default:,}"


def _layouts() -> str:
    """What a plan of three classes implies, in the whole ring and packed."""
    task = plan.Plan(
        task="example", kind="train", classes=("circle", "square", "star"), backbone="efficientnet-lite0",
        backbone_hash=bytes(32), features=1280, picture_size=224, head="softmax", epochs=1, batch_size=1,
        learning_rate_micro=1, momentum_micro=0, l2_micro=0, patience=0, class_weights=False,
    )  # fmt: skip
    parts = []
    for title, terms in (
        ("`n_max` = 1,000, C = 10, whole ring", {"update_bits": 0}),
        ("`n_max` = 1,000, C = 10, u = 16, W_max = 100", {"update_bits": 16, "most_pictures": 100}),
    ):
        layout = contribution.expected_layout(task, 1000, 10_000_000, with_counts=True, **terms)
        fields = ("kind", "length", "bits", "scale", "lo", "hi", "rounding")
        head = f"{title}: {segments.layout_words(layout):,} words\n\n| {' | '.join(fields)} |\n{'|---' * len(fields)}|"
        rows = [
            f"| `{part.kind}` | {part.length:,} | {part.bits} | {part.scale_numerator}/{part.scale_denominator} "
            f"| {part.lo:,} | {part.hi:,} | {part.rounding} |"
            for part in layout
        ]
        parts.append("\n".join((head, *rows)))
    return "\n\n".join(parts)


def _backbones() -> str:
    rows = [f"| `{name}` | {entry.features:,} | `{entry.compiled_sha256}` |" for name, entry in BACKBONES.items()]
    return "\n".join(("| backbone | features | SHA-256 of its compiled graph |", "|---|---|---|", *rows))


# ---- refusals


def _statuses() -> str:
    rows = []
    for kind, status in problems.STATUS.items():
        if kind not in (errors.FanlightError, errors.LocalError):
            rows.append(f"| `{kind.default_slug}` | {status} | {_plain(_fault(kind))} |")
    return "\n".join(("| slug, unless a finer one is given | status | when |", "|---|---|---|", *rows))


def _fault(kind: type[errors.FanlightError]) -> str:
    """What the tree at the top of ``errors`` says of an error."""
    found = re.search(rf"── {kind.__name__} +(.+)", errors.__doc__ or "")
    assert found, f"{kind.__name__} is not in the tree of errors"
    return found[1]


def slugs() -> Iterator[tuple[str, str, type[errors.FanlightError], str]]:
    """Every slug that is raised on purpose: slug, who says it, as which error, and what it says."""
    for speaker, names in SPEAKERS.items():
        for name in names:
            module = importlib.import_module(f"fanlight.{name}")
            for call in ast.walk(ast.parse(inspect.getsource(module))):
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
                    kind = getattr(module, call.func.id, None)
                    slug = next((_text(word.value, module) for word in call.keywords if word.arg == "slug"), "")
                    if slug and isinstance(kind, type) and issubclass(kind, errors.FanlightError):
                        yield slug, speaker, kind, _text(call.args[0], module) if call.args else ""


def _text(node: ast.expr, module: ModuleType) -> str:
    """A literal, a constant's value, or a sentence with gaps."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.Name(id=name):
            value = getattr(module, name, "")
            return value if isinstance(value, str) else ""
        case ast.JoinedStr(values=parts):
            return "".join(_text(part, module) or "…" for part in parts)
    return ""


def _slug_table() -> str:
    said: dict[tuple[str, str, int], list[str]] = {}
    for slug, speaker, kind, says in slugs():
        said.setdefault((speaker, slug, problems.status_of(kind("", slug=slug))), []).append(_cell(says))
    parts = []
    for speaker in SPEAKERS:
        listed = [
            f"| `{slug}` | {status} | {' / '.join(dict.fromkeys(filter(None, says)))} |"
            for (who, slug, status), says in sorted(said.items())
            if who == speaker
        ]
        parts.append("\n".join((f"**{speaker.capitalize()}**\n", "| slug | status | says |", "|---|---|---|", *listed)))
    return "\n\n".join(parts)


def _declines() -> str:
    return (
        ", ".join(f"`{reason}`" for reason in sorted(exchange.DECLINE_REASONS)) + f"; `{exchange.OTHER_REASON}` else."
    )


BLOCKS: Final[dict[str, Callable[[], str]]] = {
    **{f"messages of {module.__name__.rpartition('.')[2]}": partial(_message_block, module) for module in MESSAGES},
    **{f"{name} machine": partial(_diagram, table) for name, table in MACHINES.items()},
    "catching up": catching_up_moves.tables,
    "limits": _limits,
    "layouts": _layouts,
    "backbones": _backbones,
    "statuses": _statuses,
    "slugs": _slug_table,
    "declines": _declines,
}
