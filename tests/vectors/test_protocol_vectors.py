"""Bytes of the protocol, version 1, suite 1: what every Fanlight must produce and accept, for ever.

They were made once by a program that shares nothing with this package (a CBOR encoder of a dozen lines, ``hashlib``,
``hmac``, and AES, Ed25519 and HPKE straight from ``cryptography``) and annotated by hand: each line is one field. They
are NEVER regenerated to make a test pass. A difference means that this version speaks another protocol: that is a new
version of a label or a new suite, with vectors of its own beside these.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fanlight.core import ring
from fanlight.core.masks import add_mask
from fanlight.core.packing import pack
from fanlight.core.segments import Segment
from fanlight.protocol import codec, identities, log, signing
from fanlight.protocol.contribution import expected_layout
from fanlight.protocol.device_round import answer_key
from fanlight.protocol.digests import VECTOR_CHUNK_BYTES, device_id, federation_id, key_id, vector_digest
from fanlight.protocol.identities import Role
from fanlight.protocol.log import LogEntry
from fanlight.protocol.manifest import Manifest, cohort_hash, manifest_hash
from fanlight.protocol.merkle import Entry, included, set_root
from fanlight.protocol.plan import Plan
from fanlight.protocol.report import REPORT, ReportHeader, report_id, sealed_hash
from fanlight.protocol.sealing import MASK_AGGREGATOR, MASK_MAIN, mask_key, open_seed
from fanlight.protocol.signing import Signed

VERSION: Final = 1


def b(*pieces: str) -> bytes:
    """Bytes from annotated hexadecimal pieces."""
    return bytes.fromhex("".join(pieces))


# Keys: the secret is one byte 32 times; the public halves follow from RFC 8032 and RFC 7748.
ROOT = Ed25519PrivateKey.from_private_bytes(b("a0" * 32))
DEVICE = Ed25519PrivateKey.from_private_bytes(b("d0" * 32))
MAIN_ROUND = X25519PrivateKey.from_private_bytes(b("b0" * 32))
ROOT_KEY = b("b533d8ad9fcfbdde0b481c1b334ddc3c53412fd614564e7e5afd020368d382c3")
DEVICE_KEY = b("e72c28fe718e3a30afc47438da779d508d2dad5a265fafeb4f377e1d57fb098c")
MAIN_ROUND_KEY = "80e1a53d3eee82b62b3048578cf38c980ddd1131243a1047fe48482942d6b648"
AGGREGATOR_ROUND_KEY = "1c78fc71ef01855f670c555c82226397f0e73b0aaf443a491d4110dc22f28236"

# fid = SHA-256 of 82 6f "fanlight/fed/v1" 5820 root key
FID = "dea5c25a1e9c0763a19dc25556254193f0f37216dd10479f8545962ad2ac3fb3"
# first 16 bytes of SHA-256 of 83 6f "fanlight/dev/v1" 5820 fid 5820 device key
DEV = "74c6d786090d20b23611c06613f8bb70"


def test_ids() -> None:
    assert signing.raw_public_key(ROOT) == ROOT_KEY
    assert signing.raw_public_key(DEVICE) == DEVICE_KEY
    preimage = b("82", "6f", b"fanlight/fed/v1".hex(), "5820", ROOT_KEY.hex())
    assert hashlib.sha256(preimage).hexdigest() == FID
    assert federation_id(ROOT_KEY).hex() == FID
    assert device_id(b(FID), DEVICE_KEY).hex() == DEV
    assert key_id(ROOT_KEY).hex() == "ccc67f03600e30dfc37e58c824d698ed"
    assert key_id(DEVICE_KEY).hex() == "6f1d12be6dcb9f421d95530a49eda960"


PLAN = b(
    "af",  # a map of 15 fields
    "01" "61" "74",  # task "t"
    "02" "65" "747261696e",  # kind "train"
    "03" "82" "6161" "6162",  # classes "a", "b"
    "04" "64" "6c697465",  # backbone "lite"
    "05" "5820" + "11" * 32,  # its weights
    "06" "03",  # features 3
    "07" "1880",  # picture size 128
    "08" "67" "736f66746d6178",  # head "softmax"
    "09" "05",  # epochs 5
    "0a" "10",  # batch size 16
    "0b" "192710",  # learning rate 10,000 millionths
    "0c" "1a000dbba0",  # momentum 900,000 millionths
    "0d" "1864",  # L2 100 millionths
    "0e" "03",  # patience 3
    "0f" "f5",  # class weights: true
)  # fmt: skip


def test_plan() -> None:
    plan = Plan.decode(PLAN)
    assert plan.encode() == PLAN
    assert (plan.classes, plan.learning_rate_micro, plan.class_weights) == (("a", "b"), 10_000, True)
    assert plan.hash.hex() == "0398d4a4ec606df4f2c17f843a25dfe6afbc66abef5ac0701246749313bd63ad"


MANIFEST = b(
    "a3",  # a manifest of 3 fields
    "01" "b1",  # the proposal, 17 fields
    "01" "5820", FID,  # federation
    "02" "01",  # suite 1
    "03" "61" "74",  # task "t"
    "04" "01",  # round 1
    "05" "00",  # attempt 0
    "06" "65" "747261696e",  # kind "train"
    "07" "5820", "22" * 32,  # model
    "08" "5820", "33" * 32,  # plan
    "09" "84",  # layout of 4 segments
    "88" "66" "776569676874" "01" "1820" "01" "01" "00" "192710" "65" "6578616374",  # weight: 1 word, 0 to 10,000
    "88" "66" "757064617465" "08" "1820" "1a00800000" "05",  # update: 8 words, scale 8,388,608/5 = 2^22/2.5
    "3a003fffff" "1a00400000" "6a" "73746f63686173746963",  # from -2^22 to 2^22, stochastic
    "88" "6a" "737570706f7274657273" "02" "1820" "01" "01" "00" "01" "65" "6578616374",  # supporters: 2 words
    "88" "6b" "77697468696e5f636c6970" "01" "1820" "01" "01" "00" "01" "65" "6578616374",  # within_clip: 1 word
    "0a" "40",  # cohort: all
    "0b" "1864",  # n_max 100
    "0c" "05",  # k_min 5
    "0d" "0a",  # r_max 10 percent
    "0e" "1a00093a80",  # window 604,800 s
    "0f" "f4",  # demo: false
    "10" "5820", MAIN_ROUND_KEY,
    "11" "00",  # no noise
    "02" "5820", AGGREGATOR_ROUND_KEY,
    "03" "1a6553f100",  # opened at 1,700,000,000
)  # fmt: skip
MH = "0fb4a3e4ad550250f5720094959605d479867cf9b07457cc027b5393e3fbdaf0"


def test_manifest_hash() -> None:
    assert manifest_hash(MANIFEST).hex() == MH
    # SHA-256 of 82 74 "fanlight/manifest/v1" 59 0164 manifest: the hash is over the bytes as one byte string
    preimage = b("82", "74", b"fanlight/manifest/v1".hex(), "59", f"{len(MANIFEST):04x}") + MANIFEST
    assert hashlib.sha256(preimage).hexdigest() == MH


def test_manifest_means_what_the_annotation_says() -> None:
    manifest = Manifest.decode(MANIFEST)
    assert manifest.encode() == MANIFEST
    proposal = manifest.proposal
    assert proposal.layout[1] == Segment("update", 8, 32, 8_388_608, 5, -(2**22), 2**22, "stochastic")
    assert proposal.layout == expected_layout(Plan.decode(PLAN), 100, 2_500_000, with_counts=False)
    assert (proposal.suite, proposal.round, proposal.n_max, proposal.k_min, proposal.demo) == (1, 1, 100, 5, False)
    assert (manifest.opened_at, manifest.length) == (1_700_000_000, 12)
    assert proposal.main_key == MAIN_ROUND.public_key().public_bytes_raw() == b(MAIN_ROUND_KEY)


SEED = bytes(range(32))
# HKDF-SHA256, salt mh, info 82 69 "mask-main" 50 dev (68 "mask-agg")
MASK_KEYS = {
    MASK_MAIN: "31dfc49c7344fbf600199c1f5835ac30e479697f0caddd21bb65ecd3a02624d5",
    MASK_AGGREGATOR: "1a35187fa537678153c8fd13c158dad66572b0666f509c96828d17337a2b4379",
}
FIRST_WORDS = {
    MASK_MAIN: [1_122_912_365, 3_634_336_327, 96_837_775, 2_902_683_295],
    MASK_AGGREGATOR: [473_702_971, 3_716_309_481, 887_618_018, 2_117_964_262],
}


def test_mask_keys_and_first_words() -> None:
    for label, expected in MASK_KEYS.items():
        found = mask_key(SEED, label, b(MH), b(DEV))
        assert found.hex() == expected
        words = np.zeros(4, np.uint32)
        add_mask(words, found)
        assert words.tolist() == FIRST_WORDS[label]


Y = b(
    "a96a2a5f",  # 1 + 1122912365 + 473702971 = 0x5f2a6aa9, little-endian
    "2ff421b6",  # -1 + 3634336327 + 3716309481 modulo 2^32 = 0xb621f42f
    "d700b43a",  # 419430 + 96837775 + 887618018 = 0x3ab400d7
    "8500012b",  # -4194304 + 2902683295 + 2117964262 modulo 2^32 = 0x2b010085
)
Y_HASH = "9db8816041e7b7eff0d58b313b7071dec64299fb1b0829980a2f088f0074b990"


def test_first_masked_words() -> None:
    vector = ring.to_ring(np.array([1, -1, 419_430, -4_194_304]), 32)
    for expected in MASK_KEYS.values():
        add_mask(vector, b(expected))
    assert vector.astype("<u4").tobytes() == Y
    # SHA-256 of 83 72 "fanlight/vector/v1" 10 (16 bytes) 81 5820 SHA-256(y)
    preimage = b("83", "72", b"fanlight/vector/v1".hex(), "10", "81", "5820", hashlib.sha256(Y).hexdigest())
    assert hashlib.sha256(preimage).hexdigest() == Y_HASH
    assert vector_digest([Y]).hex() == Y_HASH


PACKED = (
    Segment("weight", 1, 32, 1, 1, 0, 10_000, "exact"),
    Segment("update", 3, 26, 32_767, 10, -32_767, 32_767, "stochastic"),
    Segment("within_clip", 1, 32, 1, 1, 0, 1, "exact"),
)
PACKED_Y = b(
    "a96a2a5f",  # 1 + 1122912365 + 473702971 = 0x5f2a6aa9, little-endian
    # 26 bits each, the lowest first, of -1, 32767 and -32767 with both masks:
    #   0xb621f42f modulo 2^26 = 0x221f42f
    #   0x3aae1a70 modulo 2^26 = 0x2ae1a70
    #   0x2b408086 modulo 2^26 = 0x3408086
    # 0x221f42f + 0x2ae1a70 * 2^26 + 0x3408086 * 2^52 = 0x3408086ab869c221f42f, 78 bits, in three words:
    "2ff421c2" "69b86a08" "08340000",
    "8aa27206",  # 7 + 3860246643 + 542896656 modulo 2^32 = 0x0672a28a: the fifth word of both masks
)  # fmt: skip
PACKED_Y_HASH = "49836b427853ebf99060d56591d77f227ad11da596aca3067d49ec61117715b8"


def test_a_packed_vector() -> None:
    parts = ([1], [-1, 32_767, -32_767], [7])
    vector = np.concatenate([ring.to_ring(np.array(q), s.bits) for q, s in zip(parts, PACKED, strict=True)])
    for expected in MASK_KEYS.values():
        add_mask(vector, b(expected))
    assert bytes(ring.to_bytes(pack(vector, PACKED))) == PACKED_Y
    # SHA-256 of 83 72 "fanlight/vector/v1" 14 (20 bytes) 81 5820 SHA-256(y)
    preimage = b("83", "72", b"fanlight/vector/v1".hex(), "14", "81", "5820", hashlib.sha256(PACKED_Y).hexdigest())
    assert hashlib.sha256(preimage).hexdigest() == PACKED_Y_HASH
    assert vector_digest([PACKED_Y]).hex() == PACKED_Y_HASH


def test_a_packed_layout_means_what_it_says() -> None:
    layout = expected_layout(Plan.decode(PLAN), 1000, 10_000_000, with_counts=False, update_bits=16)
    assert dataclasses.replace(layout[1], length=3) == PACKED[1]
    segment = b(
        "88" "66" "757064617465" "08" "181a",  # update: 8 numbers in 26 bits,
        "197fff" "0a" "397ffe" "197fff",  # scale 32,767/10, from -32,767 to 32,767
        "6a" "73746f63686173746963",  # stochastic
    )  # fmt: skip
    assert codec.encode(dataclasses.astuple(layout[1])) == segment


def test_a_vector_of_two_chunks() -> None:
    vector = bytes(VECTOR_CHUNK_BYTES) + b"\x01"
    expected = "04e4314d6e3845a467102101cc5e324138cf35fe2080464480f0dcb84294d154"
    assert vector_digest([vector]).hex() == expected


SEALED = b(
    "6b31c73956b2055d63c42bbb5295d52c6535a1234635646b4aec1a3665865142",  # the sender's ephemeral key
    "b213aa977c3b595f62391555a72589945b3a9981432a3d2fb80e6b1c9230266e",  # the seed, encrypted
    "3769d78efc756ea1e955b0b7dbe75458",  # tag
)


def test_sealed_seed_opens() -> None:
    assert open_seed(SEALED, MAIN_ROUND, MASK_MAIN, b(MH), b(DEV)) == SEED


CERTIFICATE = b(
    "a3",  # a certificate of 3 fields
    "01" "5820", FID,
    "02" "64" "6d61696e",  # role "main"
    "03" "5820", DEVICE_KEY.hex(),  # any key will do here
)  # fmt: skip
# Ed25519 by the root over "fanlight/certificate/v1" 00 certificate
SIGNATURE = (
    "58133b63b6a6787e56656e5717186a04d11f13d86232248143cd4803726f1409"
    "76f60f853043cb2166fb1f5c1d671e90c86b5a98a70a63d4098e5ad991840f0a"
)
SIGNED_CERTIFICATE = b(
    "83",  # [payload, key id, signature]
    "58" "4d", CERTIFICATE.hex(),
    "50" "ccc67f03600e30dfc37e58c824d698ed",
    "5840", SIGNATURE,
)  # fmt: skip


def test_signature() -> None:
    ROOT.public_key().verify(b(SIGNATURE), b"fanlight/certificate/v1\x00" + CERTIFICATE)
    assert signing.sign(ROOT, identities.CERTIFICATE, CERTIFICATE).encode() == SIGNED_CERTIFICATE
    assert identities.issue_certificate(ROOT, Role.MAIN, DEVICE_KEY) == SIGNED_CERTIFICATE
    assert identities.check_certificate(ROOT_KEY, SIGNED_CERTIFICATE, Role.MAIN) == DEVICE_KEY


LEAVE = b(
    "a3",  # a map of 3 fields
    "015820" + FID,  # federation
    "0250" + DEV,  # device
    "031a6553f100",  # at 1,700,000,000
)
LEAVE_SIGNATURE = (  # over "fanlight/leave/v1" 00 payload
    "04ddc97b5bbb815c82d530ea5423d80bdcb32aa8e56b1de828830678f16f2742"
    "ebc6e7e9567e39a9809e0eb9e00b3d629bc8ccf204c8a390145aa84fa9ba6c00"
)


def test_leaving() -> None:
    data = identities.leave(b(FID), b(DEV), DEVICE, 1_700_000_000)
    assert Signed.decode(data) == Signed(LEAVE, key_id(DEVICE_KEY), b(LEAVE_SIGNATURE))
    assert identities.check_leave(b(FID), b(DEV), DEVICE_KEY, data).time == 1_700_000_000


HEADER = b(
    "a6",  # a report's header of 6 fields
    "01" "5820", MH,
    "02" "50", DEV,
    "03" "04",  # 4 words
    "04" "5820", Y_HASH,
    "05" "5820" "dcf622528e0b4fdef6da1b96e40ec9995bcae4678890eca74c87c628e1fdb3b5",  # SHA-256 of 80 times 05
    "06" "5820" "2a54eccc98abd5890b689eae41518a3977624928f7cc5f2d500eebd5b7a3b94c",  # SHA-256 of 80 times 06
)  # fmt: skip
HEADER_SIGNATURE = (
    "e51f3f790997b3119dabed156538ac79aeb642d809fc54a011b1cb8af3f36cbe"
    "88d59bf6f5323d11dc447c3d61ddc8ce0a469ce13a4a0422dfa5f191d150200a"
)


def test_report_id() -> None:
    header = ReportHeader.decode(HEADER)
    assert header.encode() == HEADER
    assert header.main_hash == sealed_hash(b("05" * 80))
    signed = signing.sign(DEVICE, REPORT, HEADER)
    assert signed == Signed(HEADER, b("6f1d12be6dcb9f421d95530a49eda960"), b(HEADER_SIGNATURE))
    assert report_id(signed.encode()).hex() == "358c3271b0d0fdb0250b11cb660f265b4f01022944492de86caa0010154b98a2"


# Three leaves: 82 50 device 5820 report id, hashed with 00 in front; nodes with 01 in front.
ENTRIES = [Entry(bytes([i]) * 16, bytes([0x10 + i]) * 32) for i in (1, 2, 3)]
LEAF_1 = "24a6d44c61ad40d654db3350801b251f683195f0af98732347f3f9f6e6c296d4"
LEAF_2 = "89252064318059ed9e6cead7f502c42c4435905da4a8fda2527ce6de374f5ce9"
LEAF_3 = "80e17ded4f9cab9a56b475ab2db9793dfca6579a560d21361aa5c22695644fd2"
NODE_12 = "e83d3f19cf1029164c9c3d46235a3ac7bef4a92c1b4433bb1f8cf8e0c99e1d3a"
SET_ROOT = "d2f3ecd65e606c0afe057528878a4aed4c2206c7d78d56429260f51fe4663940"
EMPTY_SET_ROOT = "8aa31250039f8cc3f0b3e56f957c296d1efcc486a378ac43f659ac510d14aa11"


def test_set_root() -> None:
    leaf = b("00", "82", "50", "01" * 16, "5820", "11" * 32)
    assert hashlib.sha256(leaf).hexdigest() == LEAF_1
    assert hashlib.sha256(b("01", LEAF_1, LEAF_2)).hexdigest() == NODE_12
    assert set_root(b(MH), ENTRIES[::-1]).hex() == SET_ROOT
    assert set_root(b(MH), []).hex() == EMPTY_SET_ROOT


def test_inclusion() -> None:
    root = b(SET_ROOT)
    assert included(b(MH), root, 3, 0, [b(LEAF_2), b(LEAF_3)], ENTRIES[0])
    assert included(b(MH), root, 3, 1, [b(LEAF_1), b(LEAF_3)], ENTRIES[1])
    assert included(b(MH), root, 3, 2, [b(NODE_12)], ENTRIES[2])


def test_log_head() -> None:
    first = log.first_head(b(FID), "main")
    assert first.hex() == "43845ea73a904339edc9e18b8a0dbf23b2e4802bfa182b1c8083c3cd0a28a860"
    second = log.next_head(1, first, LogEntry("verdict", b"abc"))
    assert second.hex() == "3b5f0ef1f1c307c1bc5f7e5f5fb3d667486fe04a2414947ca579b5b50fe2f0b8"
    # SHA-256 of 85 6f "fanlight/log/v1" 01 5820 first 67 "verdict" 5820 SHA-256("abc")
    preimage = b("85", "6f", b"fanlight/log/v1".hex(), "01", "5820", first.hex(), "67", b"verdict".hex(), "5820")
    assert hashlib.sha256(preimage + hashlib.sha256(b"abc").digest()).digest() == second


def test_what_devices_answer_once_and_who_is_invited() -> None:
    answered = answer_key(b("33" * 32), 0, b("22" * 32))
    assert answered.hex() == "742154f9987291d433446acf0d7b8392f7cf8e411726555cb2b8b99767c42471"
    cohort = cohort_hash([b("02" * 16), b("01" * 16)])
    assert cohort.hex() == "f7408375735a708b62f41b9113e9c430d283d9ccc4a06d815d970fdcbe98748e"


# RFC 8949, appendix A: what of it our subset allows.
RFC_8949 = {
    "1b000000e8d4a51000": 1_000_000_000_000,
    "1bffffffffffffffff": 18_446_744_073_709_551_615,
    "3bffffffffffffffff": -18_446_744_073_709_551_616,
    "3903e7": -1000,
    "f4": False,
    "4401020304": b"\x01\x02\x03\x04",
    "6449455446": "IETF",
    "62c3bc": "\u00fc",
    "64f0908591": "\U00010151",
    "8301820203820405": [1, [2, 3], [4, 5]],
    "a201020304": {1: 2, 3: 4},
}


def test_published_cbor() -> None:
    for encoded, value in RFC_8949.items():
        assert codec.encode(value).hex() == encoded  # type: ignore[arg-type]
        assert codec.decode(b(encoded)) == value
