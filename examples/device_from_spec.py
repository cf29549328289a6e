"""A device of a Fanlight federation, written from docs/protocol.md alone; it imports nothing of Fanlight.

    pip install -r examples/requirements-device_from_spec.txt
    python examples/device_from_spec.py --token tokens/device-3.json --state my-device --accept-demo

It enrols at both servers with the operator's token file, waits for a round, checks all that a device must check, sends
one masked report, and says what became of it, in a line of JSON. It has no pictures: where a real device learns, it
makes up a very small update, and says that it has counted nothing. Numbers of sections are those of the page.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import math
import os
import random
import secrets
import struct
import sys
import time
from email.utils import parsedate_to_datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import cbor2
import httpx
import numpy as np
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

Fields: TypeAlias = dict[str, Any]
Words: TypeAlias = NDArray[np.uint32]
MIB = 1 << 20
BACKBONES = {  # section 6
    "efficientnet-lite0": "22b515101fde59218c3c3a83080dfcb8aae9a1dfa0d429aa092560077da1ce57",
    "efficientnet-lite0-levels": "bc834289cd7891b0efee5f1ee62a87cdf5d7d5cf16cfb44f8da61f0966d09633",
}
HEADS = ("softmax",)
KINDS = ("train", "statistics", "changes", "measure")
DECLINES = ("answered-before", "answers-per-day", "backbone-refused", "bad-layout", "below-floor", "demo-refused",
            "head-refused", "may-reject-too-many", "needs-torch", "nothing-changed", "nothing-to-learn-from", "paused",
            "to-be-forgotten", "unknown-suite")  # fmt: skip
NOT_TOLD = ("other-model", "window-passed", "not-invited", "not-authentic", "foreign-invitation")


class Refused(Exception):
    """A check failed here (status 0), or a server refused; ``slug`` is the page's word for it."""

    def __init__(self, slug: str, text: str = "", status: int = 0) -> None:
        super().__init__(f"{slug}: {text}" if text else slug)
        self.slug, self.status = slug, status


def need(condition: object, slug: str, text: str = "") -> None:
    """Go on only if ``condition`` holds."""
    if not condition:
        raise Refused(slug, text)


# ---- 2. bytes


def encode(value: Any) -> bytes:
    return cbor2.dumps(value, canonical=True)


def message(*fields: Any) -> bytes:
    """Fields by their positions; None is absent."""
    return encode({key: value for key, value in enumerate(fields, start=1) if value is not None})


def read(kind: Any, value: Any) -> Any:
    """A value that must be as a table of section 18 says; anything else is refused, unknown types among it.

    A dict is a message (``name?`` may be absent), (a, b) an array of these, [x] an array of any length, n bytes of that
    length, a range its integers. Bytes where a message is meant are decoded first.
    """
    if isinstance(kind, dict | tuple) and isinstance(value, bytes):
        value = decode(value)
    if isinstance(kind, dict):
        need(isinstance(value, dict) and all(key in range(1, len(kind) + 1) for key in value), "malformed-message")
        for key, name in enumerate(kind, start=1):
            need(key in value or name.endswith("?"), "malformed-message", f"{name} is missing")
        fields = enumerate(kind.items(), start=1)
        return {name.rstrip("?"): read(part, value[key]) if key in value else None for key, (name, part) in fields}
    if isinstance(kind, tuple | list):
        need(isinstance(value, list) and (isinstance(kind, list) or len(kind) == len(value)), "malformed-message")
        return [read(kind[0] if isinstance(kind, list) else kind[at], item) for at, item in enumerate(value)]
    if isinstance(kind, range):
        need(type(value) is int and value in kind, "malformed-message")
    elif isinstance(kind, int):
        need(type(value) is bytes and len(value) == kind, "malformed-message")
    else:
        need(type(value) is kind and (kind is not str or 1 <= len(value) <= 64), "malformed-message")
    return value


def decode(data: bytes) -> Any:
    """One value of at most 1 MiB, in the one encoding that it has; what types it is made of, ``read`` checks."""
    need(len(data) <= MIB, "message-too-large")
    try:
        value = cbor2.loads(data)
        same = encode(value) == data
    except Exception as error:
        raise Refused("malformed-message", str(error)) from error
    need(same, "malformed-message", "this is not its shortest form")
    return value


U32, U63 = range(1 << 32), range(1 << 63)
SIGNED = (bytes, 16, 64)
CERTIFICATE = {"fid": 32, "role": str, "public_key": 32}
TOKEN = {"fid": 32, "public_key": 32, "expires": U63, "name": str}
WELCOME = {"device": 16, "name": str}
ALGORITHM = {"name": str, "parameters": [(str, U63)], "control_clip_micro?": range(1, 1 << 40), "steps": bool}
AUGMENTATION = {"variants": range(1, 17), "flip": bool, "zoom_percent": range(51), "light_percent": range(51)}
FINE_TUNING = {"blocks": range(1001), "batch_norm": str, "learning_rate_micro": U32, "parameters": range(1, 1 << 28)}
PLAN = {"task": str, "kind": str, "classes": [str], "backbone": str, "backbone_hash": 32, "features": range(1, 65537),
        "picture_size": range(16, 1025), "head": str, "epochs": range(1, 1001), "batch_size": range(1, 4097),
        "learning_rate_micro": U32, "momentum_micro": range(10**6), "l2_micro": U32, "patience": U32,
        "class_weights": bool, "algorithm?": ALGORITHM, "augmentation?": AUGMENTATION, "class_counts?": [U32],
        "fine_tune?": FINE_TUNING}  # fmt: skip
INTEGER = range(-(1 << 64), 1 << 64)
SEGMENT = (str, *[INTEGER] * 6, str)
PROPOSAL = {"fid": 32, "suite": U32, "task": str, "round": range(1, 1 << 32), "attempt": U32, "kind": str, "model": 32,
            "plan": 32, "layout": [SEGMENT], "cohort": bytes, "n_max": range(2, 40_001), "k_min": range(2, 40_001),
            "r_max_percent": range(101), "window_s": range(1, 7_776_001), "demo": bool, "main_key": 32,
            "noise": range(1), "shards?": range(2, 17), "collection?": range(1, 1 << 32)}  # fmt: skip
MANIFEST = {"proposal": PROPOSAL, "aggregator_key": 32, "opened_at": U63, "draw?": 32}
SIGNED_MANIFEST = {"payload": bytes, "aggregator_signature": 64, "main_signature": 64}
INVITATION = {"mh": 32, "device": 16}
RECEIPT = {"mh": 32, "device": 16, "report_id": 32, "time": U63}
SHARD = {"number": U32, "count": U32, "set_root": 32, "reason": str}
OUTCOME = {"mh": 32, "result": str, "reason": str, "set_root": 32, "shards?": [SHARD]}
SIGNED_OUTCOME = {"payload": bytes, "aggregator_signature": 64, "main_signature?": 64}
PROOF = {"size": U32, "index": U32, "path": [32], "shard?": range(1, 1 << 32)}
OUTCOME_FOR_DEVICE = {"outcome": SIGNED_OUTCOME, "proof?": PROOF}
OFFER = {"fid": 32, "version": U63, "by_itself": bool, "plan": bytes, "model": 32, "model_version": U32,
         "manifest?": bytes, "invitation?": bytes, "pause_s?": range(1, 3601),
         "collection?": range(1, 1 << 32), "file?": bytes, "ended?": OUTCOME_FOR_DEVICE}  # fmt: skip


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def digest(label: str, *parts: Any) -> bytes:
    """H(label, part, …)."""
    return sha256(encode([label, *parts]))


def public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def key_id(public_key: bytes) -> bytes:
    return digest("fanlight/key/v1", public_key)[:16]


def signature(key: Ed25519PrivateKey, label: str, payload: bytes) -> bytes:
    return key.sign(label.encode() + b"\0" + payload)


def sign(key: Ed25519PrivateKey, label: str, payload: bytes) -> bytes:
    """A signed object."""
    return encode([payload, key_id(public(key)), signature(key, label, payload)])


def verify(public_key: bytes, label: str, payload: bytes, signed: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signed, label.encode() + b"\0" + payload)
    except (InvalidSignature, ValueError) as error:
        raise Refused("not-authentic", f"the signature of the {label} does not verify") from error


def opened(public_key: bytes, label: str, data: bytes) -> bytes:
    """The payload of a signed object of that key."""
    payload: bytes
    payload, key, signed = read(SIGNED, data)
    need(key == key_id(public_key), "not-authentic", f"the {label} is signed with another key")
    verify(public_key, label, payload, signed)
    return payload


def set_root(mh: bytes, size: int, index: int, path: list[bytes], leaf: bytes) -> bytes | None:
    """The set root that an audit path leads to (RFC 9162, 2.1.3.2); None if it leads nowhere."""
    fn, sn, node = index, size - 1, sha256(b"\0" + leaf)
    for sibling in path:
        if sn <= 0:
            return None
        if fn & 1 or fn == sn:
            node = sha256(b"\1" + sibling + node)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = sha256(b"\1" + node + sibling)
        fn, sn = fn >> 1, sn >> 1
    return digest("fanlight/set/v1", mh, size, node) if sn == 0 and index < size else None


# ---- 3. and 8. cryptography, and the vector


def seal(seed: bytes, round_key: bytes, info: bytes) -> bytes:
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    try:
        return suite.encrypt(seed, X25519PublicKey.from_public_bytes(round_key), info=info)
    except ValueError as error:  # a point of small order
        raise Refused("bad-round-key") from error


def mask(seed: bytes, info: bytes, mh: bytes, count: int) -> Words:
    """The first ``count`` words of a mask."""
    key = HKDF(SHA256(), 32, salt=mh, info=info).derive(seed)
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor().update(bytes(4 * count))
    return np.frombuffer(stream, "<u4").astype(np.uint32)


def expected_layout(layout: list[Any], plan: Fields, n_max: int) -> list[Any] | None:
    """The layout that a device computes, with clip, width and W_max as the manifest's implies them."""
    parts, k = {segment[0]: segment for segment in layout}, len(plan["classes"])
    per_nat = max(1, min(100, (2**31 - 1) // (n_max * 10_000)))
    counts = [["counts", 2 * k * k, 32, 1, 1, 0, 10_000, "exact"],
              ["loss", 2, 32, per_nat, 1, 0, per_nat * 10_000, "exact"]]  # fmt: skip
    if plan["kind"] == "measure":
        return counts
    if not {"weight", "update"} <= set(parts):
        return None
    _, _, bits, numerator, denominator, _, hi, _ = parts["update"]
    w_max, clip = parts["weight"][6], Fraction(hi * denominator * 10**6, numerator or -1)
    u = hi.bit_length() + 1 if bits < 32 else 0
    q = (1 << (u - 1)) - 1 if u else min(1 << 22, (2**31 - 1) // (4 * n_max))
    b = (n_max * q).bit_length() + 1 if u else 32
    if clip <= 0 or clip.denominator != 1 or q < 256 or u > 23 or (u and b > 31) or not 1 <= w_max <= 10_000:
        return None
    scale = Fraction(q * 10**6, clip.numerator)
    return [
        ["weight", 1, 32, 1, 1, 0, w_max, "exact"],
        ["update", (plan["features"] + 1) * k, b, scale.numerator, scale.denominator, -q, q, "stochastic"],
        *(counts if "counts" in parts else []),
        ["supporters", k, 32, 1, 1, 0, 1, "exact"],
        ["within_clip", 1, 32, 1, 1, 0, 1, "exact"],
    ]


def quantise(layout: list[Any], pictures: int) -> Words:
    """q, in two's complement: next to nothing learned from so many pictures of all classes, and none to measure on."""
    parts, weight, w_max = [], 0, 1
    for kind, length, _, numerator, denominator, _, hi, _ in layout:
        part = np.zeros(length, np.int64)
        if kind == "weight":
            weight, w_max = min(pictures, hi), hi
            part += weight
        elif kind == "update":
            update = np.frombuffer(secrets.token_bytes(4 * length), "<i4").astype(np.float64)
            clip = hi * denominator / numerator
            update *= clip / 1000 / math.sqrt(float(update @ update))
            steps = np.rint(update * (weight / w_max) * (numerator / denominator) * 2.0**32).astype(np.int64)
            part = (steps + np.frombuffer(secrets.token_bytes(4 * length), "<u4")) >> 32  # stochastic rounding
        elif kind in ("supporters", "within_clip"):
            part += 1
        parts.append(part)
    return np.concatenate(parts).astype(np.uint32)


def pack(vector: Words, layout: list[Any]) -> bytes:
    """The low bits of each word, the lowest first; each segment up to a whole word."""
    out, at = [], 0
    for _, length, bits, *_ in layout:
        octets = vector[at : at + length].astype("<u4").view(np.uint8).reshape(-1, 4)
        row = np.unpackbits(octets, axis=1, bitorder="little")[:, :bits].reshape(-1)
        out.append(np.packbits(np.pad(row, (0, -row.size % 32)), bitorder="little").tobytes())
        at += length
    return b"".join(out)


def chunk_hashes(y: bytes) -> list[bytes]:
    return [sha256(y[at : at + MIB]) for at in range(0, len(y), MIB)]


# ---- 5. HTTP


class Server:
    """A server, asked by one device under one key."""

    def __init__(self, url: str) -> None:
        self.url, self.authority = url.rstrip("/"), httpx.URL(url).netloc.decode()  # without the scheme's own port
        self.key, self.key_id, self.skew = Ed25519PrivateKey.generate(), "", 0.0
        self.http = httpx.Client(trust_env=False, timeout=60)

    def now(self) -> int:
        return int(time.time() + self.skew)

    def time_there(self) -> int:
        """Section 7: for the windows of rounds, and nothing that is signed."""
        fields, _ = self.ask("GET", "/time", signed=False)
        return int(parsedate_to_datetime(fields["date"]).timestamp())

    def ask(self, method: str, path: str, body: bytes = b"", *, signed: bool = True, limit: int = MIB,
            headers: dict[str, str] | None = None) -> tuple[httpx.Headers, bytes]:  # fmt: skip
        """One request; again, and later, if the server says so or does not answer."""
        for attempt in range(100):
            try:
                status, fields, data = self._once(method, f"/protocol/v1{path}", body, signed, limit, headers or {})
            except httpx.TransportError:
                status, fields, data = 503, httpx.Headers(), b""
            if status < 300:
                return fields, data
            try:
                slug, text = (str(json.loads(data)["error"][name])[:200] for name in ("slug", "message"))
            except (ValueError, KeyError, TypeError, RecursionError):
                slug, text = "bad-answer", ""
            told = fields.get("retry-after", "0")
            if slug == "clock-skew" and attempt == 0 and "date" in fields:
                self.skew = parsedate_to_datetime(fields["date"]).timestamp() - time.time()
            elif status >= 500 or status in (408, 429) or slug == "not-confirmed":
                floor = min(float(told), 900.0) if told.isdigit() else 60.0
                time.sleep(floor + random.random() * min(30.0, 0.5 * 2.0**attempt))
            else:
                raise Refused(slug, text, status)
        raise Refused("unreachable", self.url)

    def _once(self, method: str, target: str, body: bytes, signed: bool, limit: int, more: dict[str, str]) -> Any:
        fields = {"Host": self.authority, "Accept": "application/cbor", "Accept-Encoding": "identity"}
        fields |= {"Content-Type": "application/cbor"} | more | (self._signed(method, target, body) if signed else {})
        with self.http.stream(method, self.url + target, content=body, headers=fields) as answer:
            data = b""
            for piece in answer.iter_raw():
                data += piece
                need(len(data) <= (limit if answer.is_success else 1 << 16), "message-too-large")
            return answer.status_code, answer.headers, data

    def _signed(self, method: str, target: str, body: bytes) -> dict[str, str]:
        path, _, query = target.partition("?")
        content = f"sha-256=:{base64.b64encode(sha256(body)).decode()}:"
        covered = {"@method": method, "@authority": self.authority, "@path": path, "@query": f"?{query}",
                   "content-digest": content}  # fmt: skip
        names, now = " ".join(f'"{name}"' for name in covered), self.now()
        text = f'({names});created={now};expires={now + 60};nonce="{secrets.token_hex(16)}"'
        text += f';keyid="{self.key_id}";alg="ed25519";tag="fanlight/1"'
        base = "\n".join([*(f'"{name}": {value}' for name, value in covered.items()), f'"@signature-params": {text}'])
        made = base64.b64encode(self.key.sign(base.encode())).decode()
        return {"Content-Digest": content, "Signature-Input": f"fanlight={text}", "Signature": f"fanlight=:{made}:"}


# ---- the device


class Device:
    """One device: its key, reports and history in a folder, both servers, its owner's floors."""

    def __init__(self, floors: argparse.Namespace) -> None:
        self.floors, self.folder, self.model = floors, Path(floors.state), b""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.read_token(json.loads(Path(floors.token).read_text()))
        if not (self.folder / "device.key").exists():
            self.store("device.key", secrets.token_bytes(32))
        self.key = Ed25519PrivateKey.from_private_bytes((self.folder / "device.key").read_bytes())
        self.id = digest("fanlight/dev/v1", self.fid, public(self.key))[:16]
        history = self.folder / "history.json"
        self.history: dict[str, Fields] = json.loads(history.read_text()) if history.exists() else {}

    def store(self, name: str, data: bytes) -> None:
        """Durably, whole or not at all, for the owner only."""
        path, part = self.folder / name, self.folder / "unfinished"
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)

    def note(self, mh: str, **facts: Any) -> None:
        self.history[mh] = self.history.get(mh, {}) | facts
        self.store("history.json", json.dumps(self.history).encode())

    def read_token(self, file: Fields) -> None:
        """Section 4: certificates and token, from the root down."""
        root, keys = bytes.fromhex(file["root_key"]), {}
        self.fid = digest("fanlight/fed/v1", root)
        for role in ("main", "aggregator"):
            signed = opened(root, "fanlight/certificate/v1", bytes.fromhex(file[f"{role}_certificate"]))
            certificate = read(CERTIFICATE, signed)
            need((certificate["fid"], certificate["role"]) == (self.fid, role), "not-authentic", f"no {role}'s")
            keys[role] = certificate["public_key"]
        need(keys["main"] != keys["aggregator"], "not-authentic", "both servers have one key")
        self.main_key, self.aggregator_key = keys["main"], keys["aggregator"]
        self.token = bytes.fromhex(file["token"])
        self.token_key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(file["token_key"]))
        token = read(TOKEN, opened(root, "fanlight/token/v1", self.token))
        need((token["fid"], token["public_key"]) == (self.fid, public(self.token_key)), "not-authentic", "the token")
        self.main, self.aggregator = Server(file["main_url"]), Server(file["aggregator_url"])

    def enrol(self) -> None:
        """Section 4: the same message to both servers."""
        label = "fanlight/enrol/v1"
        said = encode([label, self.fid, public(self.token_key), public(self.key)])
        signatures = [signature(key, label, said) for key in (self.token_key, self.key)]
        for server in (self.main, self.aggregator):
            server.key, server.key_id = self.key, public(self.key).hex()
            _, data = server.ask("POST", "/enrolments", message(self.token, public(self.key), *signatures))
            need(read(WELCOME, data)["device"] == self.id, "wrong-device-id")
            server.key_id = self.id.hex()

    def run(self) -> None:
        """Answer rounds until so many training rounds are over as were asked for."""
        version, ended = 0, 0
        while True:
            pending = [mh for mh, record in self.history.items() if record["state"] != "ended"]
            have = f"&have={sha256(self.model).hex()}" if self.model else ""
            wait = 0 if not version else 1 if pending else 20
            _, data = self.main.ask("GET", f"/offer?after={version}&wait={wait}{have}")
            offer = read(OFFER, opened(self.main_key, "fanlight/offer/v1", data))
            need(offer["fid"] == self.fid, "foreign-offer")
            version = offer["version"]
            for mh in pending:
                self.deliver(mh)
                ended += self.end(mh)
            if ended >= self.floors.rounds:
                return
            if offer["manifest"] is not None:
                self.answer(offer)
            elif not pending:
                time.sleep(random.random() * (offer["pause_s"] or 0))

    def answer(self, offer: Fields) -> None:
        """Answer the open round, or say in a word why not."""
        signed = read(SIGNED_MANIFEST, offer["manifest"])
        mh = digest("fanlight/manifest/v1", signed["payload"])
        if mh.hex() in self.history:
            return
        try:
            manifest = self.check(offer, signed, mh)
            terms = manifest["proposal"]
            if terms["kind"] == "train" and not offer["by_itself"]:  # by hand: whoever started this program said so
                ready = message(self.fid, self.id, terms["task"], terms["plan"], terms["model"], self.main.now())
                self.main.ask("POST", "/readiness", sign(self.key, "fanlight/readiness/v1", ready))
            self.commit(manifest, mh)
        except Refused as refusal:
            print(f"round not answered: {refusal}", file=sys.stderr)
            self.note(mh.hex(), state="ended", result="not answered", key="", time=0)
            if refusal.slug not in NOT_TOLD:
                word = refusal.slug if refusal.slug in DECLINES else "other"
                self.main.ask("POST", f"/rounds/{mh.hex()}/decline", message(word))
            return
        self.deliver(mh.hex())

    def check(self, offer: Fields, signed: Fields, mh: bytes) -> Fields:
        """Section 14: all that a device must check before it sends; the manifest."""
        plan, floors = self.take_model(offer), self.floors
        verify(self.aggregator_key, "manifest-agg", signed["payload"], signed["aggregator_signature"])
        verify(self.main_key, "manifest-main", signed["payload"], signed["main_signature"])
        manifest: Fields = read(MANIFEST, signed["payload"])
        terms = manifest["proposal"]
        # what every party refuses
        need(terms["fid"] == self.fid, "foreign-manifest")
        need(terms["suite"] == 1, "unknown-suite")
        need(terms["k_min"] <= terms["n_max"] and len(terms["cohort"]) in (0, 32), "bad-manifest")
        need(terms["kind"] in KINDS and terms["r_max_percent"] <= 34, "bad-manifest")
        need((terms["collection"] is None) == (terms["kind"] != "changes"), "bad-manifest")
        need((terms["collection"] or 0) < terms["round"], "bad-manifest")
        need(terms["shards"] is None or terms["cohort"], "bad-manifest")
        keys = manifest["aggregator_key"], terms["main_key"]
        need(all(int.from_bytes(key, "little") < 2**255 - 19 for key in keys), "bad-round-key")
        need(keys[0] != keys[1], "one-round-key")
        need((manifest["draw"] is None) == (terms["shards"] is None), "bad-manifest")
        # what this device refuses
        need(terms["kind"] in (plan["kind"], "measure"), "other-model")
        plan["kind"] = terms["kind"]
        plan_hash = digest("fanlight/plan/v1", encode(decode(offer["plan"]) | {2: plan["kind"]}))
        asked = (terms["task"], terms["plan"], terms["model"])
        need(asked == (plan["task"], plan_hash, sha256(self.model)), "other-model")
        closes_at = manifest["opened_at"] + terms["window_s"]
        need(self.aggregator.now() < closes_at or self.aggregator.time_there() < closes_at, "window-passed")
        if terms["cohort"]:
            need(offer["invitation"] is not None, "not-invited")
            invitation = opened(self.main_key, "fanlight/invitation/v1", offer["invitation"])
            need(read(INVITATION, invitation) == {"mh": mh, "device": self.id}, "foreign-invitation")
        need(floors.accept_demo or not terms["demo"], "demo-refused")
        by_squares = any(segment[0] == "statistics" for segment in terms["layout"])
        need(terms["k_min"] >= (2 if terms["demo"] else floors.k_min * (1 + by_squares)), "below-floor")
        need(terms["r_max_percent"] <= floors.r_max_percent, "may-reject-too-many")
        need(BACKBONES.get(plan["backbone"]) == plan["backbone_hash"].hex(), "backbone-refused")
        need(plan["head"] in HEADS, "head-refused")
        need(terms["kind"] in ("train", "measure"), "bad-manifest")  # the others are of heads that it does not know
        n_max, layout = terms["n_max"], terms["layout"]
        need(layout == expected_layout(layout, plan, n_max), "bad-layout")
        need(all(n_max * max(-lo, hi) < 1 << (bits - 1) for _, _, bits, _, _, lo, hi, _ in layout), "bad-layout")
        need(sum(segment[1] for segment in layout) <= 1 << 28, "bad-layout")
        answered = [past["key"] for past in self.history.values() if past["result"] != "abandoned"]
        need(self.answer_key(terms) not in answered, "answered-before")
        lately = [past for past in self.history.values() if past["time"] > time.time() - 86_400]
        need(len(lately) < floors.answers_per_day, "answers-per-day")
        need(terms["kind"] == "train" and floors.pictures > 0, "nothing-to-learn-from")  # and none to measure on
        return manifest

    @staticmethod
    def answer_key(terms: Fields) -> str:
        return digest("fanlight/answer/v1", terms["plan"], terms["attempt"], terms["model"]).hex()

    def take_model(self, offer: Fields) -> Fields:
        """Section 6: the plan; and the model, fetched if it is another one, and checked to be the plan's."""
        plan: Fields = read(PLAN, offer["plan"])
        classes, features = plan["classes"], plan["features"]
        need(2 <= len(set(classes)) == len(classes) <= 200, "malformed-message", "classes")
        need(plan["class_counts"] is None or len(plan["class_counts"]) == len(classes), "malformed-message", "counts")
        need(plan["algorithm"] is None, "algorithm-refused")  # what it makes up is a difference of two models
        need(plan["fine_tune"] is None, "needs-torch")
        if sha256(self.model) != offer["model"]:
            _, self.model = self.main.ask("GET", f"/models/{offer['model'].hex()}", limit=64 * MIB)
            need(sha256(self.model) == offer["model"], "model-altered")
        try:
            start = 8 + int.from_bytes(self.model[:8], "little")
            header = json.loads(self.model[8:start])
            told = json.loads(header.pop("__metadata__")["fanlight"])
            found = [told[name] for name in ("format", "classes", "backbone", "picture_size", "head")]
            parts = sorted((each["data_offsets"], name, each["dtype"], each["shape"]) for name, each in header.items())
            numbers = np.frombuffer(self.model[start:], "<f4")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise Refused("model-refused", str(error)) from error
        backbone, at, expected = {"id": plan["backbone"], "sha256": plan["backbone_hash"].hex()}, 0, []
        shapes = {"head.weight": [features, len(classes)], "head.bias": [len(classes)]}
        for _, name, *_ in parts:  # one after the other, in whichever order
            size = 4 * math.prod(shapes.get(name, [0]))
            expected.append(([at, at + size], name, "F32", shapes.get(name)))
            at += size
        need(found == [1, classes, backbone, plan["picture_size"], plan["head"]], "model-refused", "metadata")
        need(len(parts) == 2 and parts == expected and at == 4 * numbers.size, "model-refused", "tensors")
        need(np.isfinite(numbers).all(), "model-refused", "a number is not finite")
        return plan

    def commit(self, manifest: Fields, mh: bytes) -> None:
        """Sections 8 and 9: build the report and store it; nothing is sent yet."""
        terms = manifest["proposal"]
        vector, sealed = quantise(terms["layout"], self.floors.pictures), []
        for label, round_key in (("mask-main", terms["main_key"]), ("mask-agg", manifest["aggregator_key"])):
            seed = secrets.token_bytes(32)
            vector = vector + mask(seed, encode([label, self.id]), mh, vector.size)
            sealed.append(seal(seed, round_key, encode([label, mh, self.id])))
        y = pack(vector, terms["layout"])
        y_hash = digest("fanlight/vector/v1", len(y), chunk_hashes(y))
        header = sign(self.key, "fanlight/report/v1", message(mh, self.id, len(y) // 4, y_hash, *map(sha256, sealed)))
        self.store(f"{mh.hex()}.y", y)
        self.store(f"{mh.hex()}.envelope", message(header, *sealed))
        report = digest("fanlight/report-id/v1", header).hex()
        self.note(mh.hex(), state="committed", report=report, key=self.answer_key(terms), time=time.time(), result="",
                  round=terms["round"], kind=terms["kind"])  # fmt: skip

    def deliver(self, mh: str) -> None:
        """Section 9: the report to the aggregator, its receipt to main; the same bytes as often as it takes."""
        if self.history[mh]["state"] != "committed":
            return
        try:
            data = self.upload(mh)
        except Refused as refusal:
            if refusal.status != 409:
                raise
            self.note(mh, state="too late")  # what became of the round is heard when it is over
            return
        receipt = read(RECEIPT, opened(self.aggregator_key, "fanlight/receipt/v1", data))
        named = (receipt["mh"].hex(), receipt["device"], receipt["report_id"].hex())
        need(named == (mh, self.id, self.history[mh]["report"]), "foreign-receipt")
        self.main.ask("POST", f"/rounds/{mh}/beacons", data)
        self.note(mh, state="confirmed")

    def upload(self, mh: str) -> bytes:
        """The signed receipt for a report."""
        envelope, y = ((self.folder / f"{mh}.{part}").read_bytes() for part in ("envelope", "y"))
        front, path = b"FLR1" + struct.pack(">I", len(envelope)) + envelope, f"/rounds/{mh}/reports/{self.id.hex()}"
        if len(y) <= MIB:
            return self.aggregator.ask("PUT", path, front + y, signed=False)[1]
        front += b"".join(chunk_hashes(y))
        while True:
            fields, receipt = self.aggregator.ask("POST", path, front, signed=False)
            if receipt:
                return receipt
            start = fields.get("upload-offset", "")
            need(start.isdigit() and int(start) <= len(y), "bad-offset")
            more = {"Content-Type": "application/partial-upload", "Upload-Offset": start, "Upload-Complete": "?1"}
            try:
                return self.aggregator.ask("PATCH", path, front + y[int(start) :], signed=False, headers=more)[1]
            except Refused as refusal:  # after a broken line more is there than before: ask again
                if refusal.slug != "wrong-offset":
                    raise

    def end(self, mh: str) -> int:
        """Section 14: a verified outcome, and that the report was summed if main says so; 1 after a training round."""
        try:
            answer = read(OUTCOME_FOR_DEVICE, self.main.ask("GET", f"/rounds/{mh}/outcome")[1])
        except Refused as refusal:
            if refusal.status != 404:
                raise
            return 0
        signed, proof, record = answer["outcome"], answer["proof"], self.history[mh]
        verify(self.aggregator_key, "outcome-agg", signed["payload"], signed["aggregator_signature"])
        outcome, shard = read(OUTCOME, signed["payload"]), None
        need(outcome["result"] in ("released", "failed", "abandoned"), "malformed-message")
        if outcome["result"] != "abandoned":
            need(signed["main_signature"] is not None, "half-signed-outcome")
            verify(self.main_key, "outcome-main", signed["payload"], signed["main_signature"])
        need(outcome["mh"].hex() == mh, "foreign-outcome")
        if proof is not None:
            need(outcome["result"] != "abandoned", "bad-inclusion-proof")
            shards = {each["number"]: each for each in outcome["shards"] or ()}
            shard = shards.get(proof["shard"])
            need((shard is None) == (proof["shard"] is None) == (outcome["shards"] is None), "bad-inclusion-proof")
            leaf = encode([self.id, bytes.fromhex(record["report"])])
            proven = set_root(outcome["mh"], proof["size"], proof["index"], proof["path"], leaf)
            need(proven == (shard or outcome)["set_root"], "bad-inclusion-proof")
        self.note(mh, state="ended", result=outcome["result"], outcome=signed["payload"].hex())
        (self.folder / f"{mh}.y").unlink(missing_ok=True)
        included = proof is not None and (shard is None or shard["reason"] == "ok")
        said = {name: record[name] for name in ("round", "kind", "report")} | {"device": self.id.hex(), "mh": mh}
        said |= {"result": outcome["result"], "reason": outcome["reason"], "summed": proof is not None}
        print(json.dumps(said | {"included": included, "shard": shard["number"] if shard else None}), flush=True)
        return int(record["kind"] == "train")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    option = parser.add_argument
    option("--token", required=True, help="token file from the operator (fanlight federation token)")
    option("--state", required=True, help="folder of this device, for its key, reports and history; made if missing")
    option("--rounds", type=int, default=1, help="training rounds to see through before it ends (default 1)")
    option("--pictures", type=int, default=10, help="training pictures that it pretends to have (default 10)")
    option("--k-min", type=int, default=5, help="floor: fewest devices in a sum that it joins (default 5)")
    option("--accept-demo", action="store_true", help="floor: take part in demonstrations, where two devices do")
    option("--r-max-percent", type=int, default=34, help="floor: most reports that main may reject (default 34 %%)")
    option("--answers-per-day", type=int, default=500, help="floor: most reports in 24 hours (default 500)")
    try:
        device = Device(parser.parse_args())
        device.enrol()
        device.run()
    except (Refused, OSError) as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")


if __name__ == "__main__":
    main()
