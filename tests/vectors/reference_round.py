"""A whole round from its secrets, by the reference alone: what each party says, byte by byte.

It imports nothing of Fanlight. The names are those of the cases and fields in ``v1/*round_of_three.json``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, TypeAlias

from cryptography.exceptions import InvalidTag

from tests.vectors import reference as ref
from tests.vectors import reference_sealing as sealing

Fields: TypeAlias = dict[str, Any]
W_MAX = 10_000


def play(given: Mapping[str, Fields]) -> dict[str, Fields]:
    """All that is expected of a round, by case and field, from all that is given."""
    out: dict[str, Fields] = {"federation": federation(given["federation"])}
    root, main, agg = (given["federation"][f"{name}_secret"] for name in ("root", "main", "aggregator"))
    fid = out["federation"]["fid"]
    devices = [name for name in given if name.startswith("device ")]
    for name in devices:
        out[name] = enrolment(root, fid, given[name])
    out["plan"] = plan(given["plan"])
    terms = given["manifest"]
    out["manifest"] = manifest(main, agg, fid, given["plan"], out["plan"]["plan_hash"], terms)
    layout, mh = out["manifest"]["layout"], out["manifest"]["mh"]
    for name in devices:
        device, place = out[name]["device"], name.replace("device", "report")
        out[place] = report(given[name]["device_secret"], device, terms, layout, mh, given[place])
        payload = ref.message(mh, device, out[place]["report_id"], given[place]["receipt_time"])
        out[place]["receipt"] = ref.signed(agg, "fanlight/receipt/v1", ref.cbor(payload))
    out |= ending(main, agg, fid, terms, out)
    return out


def federation(given: Fields) -> Fields:
    keys = {f"{name}_key": ref.verifying_key(given[f"{name}_secret"]) for name in ("root", "main", "aggregator")}
    fid = ref.digest("fanlight/fed/v1", keys["root_key"])
    certificates = {
        f"{role}_certificate": ref.signed(
            given["root_secret"], "fanlight/certificate/v1", ref.cbor(ref.message(fid, role, keys[f"{role}_key"]))
        )
        for role in ("main", "aggregator")
    }
    return {**keys, "fid": fid, **certificates}


def enrolment(root: bytes, fid: bytes, given: Fields) -> Fields:
    label = "fanlight/enrol/v1"
    token_key, device_key = ref.verifying_key(given["token_secret"]), ref.verifying_key(given["device_secret"])
    payload = ref.cbor(ref.message(fid, token_key, given["token_expires"], given["token_name"]))
    token = ref.signed(root, "fanlight/token/v1", payload)
    said = ref.cbor([label, fid, token_key, device_key])
    signatures = (ref.signature(given[f"{name}_secret"], label, said) for name in ("token", "device"))
    return {
        "token": token,
        "enrolment": ref.cbor(ref.message(token, device_key, *signatures)),
        "device": ref.digest("fanlight/dev/v1", fid, device_key)[:16],
    }


PLAN_FIELDS = (
    "task", "kind", "classes", "backbone", "backbone_hash", "features", "picture_size", "head", "epochs", "batch_size",
    "learning_rate_micro", "momentum_micro", "l2_micro", "patience", "class_weights",
)  # fmt: skip


def plan(given: Fields) -> Fields:
    encoded = ref.cbor(ref.message(*(given[name] for name in PLAN_FIELDS)))
    return {"plan": encoded, "plan_hash": ref.digest("fanlight/plan/v1", encoded)}


def layout_of(plan: Fields, terms: Fields) -> list[list[Any]]:
    """The layout that a plan, n_max, clip and width imply."""
    k, n_max, u = len(plan["classes"]), terms["n_max"], terms["update_bits"]
    q = (1 << (u - 1)) - 1 if u else min(1 << 22, ((1 << 31) - 1) // (4 * n_max))
    bits = (n_max * q).bit_length() + 1 if u else 32
    scale = Fraction(q * 1_000_000, terms["clip_micro"])
    per_nat = max(1, min(100, ((1 << 31) - 1) // (n_max * 10_000)))
    return [
        ["weight", 1, 32, 1, 1, 0, W_MAX, "exact"],
        ["update", (plan["features"] + 1) * k, bits, scale.numerator, scale.denominator, -q, q, "stochastic"],
        ["counts", 2 * k * k, 32, 1, 1, 0, 10_000, "exact"],
        ["loss", 2, 32, per_nat, 1, 0, per_nat * 10_000, "exact"],
        ["supporters", k, 32, 1, 1, 0, 1, "exact"],
        ["within_clip", 1, 32, 1, 1, 0, 1, "exact"],
    ]


def manifest(main: bytes, agg: bytes, fid: bytes, task: Fields, plan_hash: bytes, given: Fields) -> Fields:
    layout = layout_of(task, given)
    proposal = ref.message(
        fid, 1, task["task"], given["round"], given["attempt"], task["kind"], given["model"], plan_hash, layout, b"",
        given["n_max"], given["k_min"], given["r_max_percent"], given["window_s"], given["demo"],
        sealing.round_key(given["main_round_secret"]), 0,
    )  # fmt: skip
    agg_round_key = sealing.round_key(given["aggregator_round_secret"])
    payload = ref.cbor(ref.message(proposal, agg_round_key, given["opened_at"]))
    signatures = ref.signature(agg, "manifest-agg", payload), ref.signature(main, "manifest-main", payload)
    return {
        "layout": layout,
        "proposal": ref.cbor(proposal),
        "manifest": payload,
        "mh": ref.digest("fanlight/manifest/v1", payload),
        "countersigned": ref.signed(agg, "manifest-agg", payload),
        "signed_manifest": ref.cbor(ref.message(payload, *signatures)),
    }


def quantised(terms: Fields, layout: Sequence[ref.Segment], given: Fields) -> list[int]:
    """q of one device: its segments one after the other."""
    _, d, _, numerator, denominator, lo, hi, _ = layout[1]
    clipped, within = ref.clip(given["update"], terms["clip_micro"] / 1e6)
    weighted = [x * (given["examples"] / W_MAX) for x in clipped]
    drawn = ref.words(ref.keystream(given["device_stream"], 4 * d))
    losses = [round(given[f"{model}_loss"] * layout[3][3]) for model in ("received", "local")]
    return [
        given["examples"],
        *ref.quantise(weighted, Fraction(numerator, denominator), lo, hi, drawn),
        *given["received_confusion"],
        *given["local_confusion"],
        *losses,
        *given["supporters"],
        int(within),
    ]


def report(
    secret: bytes, device: bytes, terms: Fields, layout: Sequence[ref.Segment], mh: bytes, given: Fields
) -> Fields:
    q = quantised(terms, layout, given)
    drawn = 4 * layout[1][1]
    seeds = ref.keystream(given["device_stream"], drawn + 64)[drawn:]
    seed = {"main": seeds[:32], "aggregator": seeds[32:]}
    label = {"main": "mask-main", "aggregator": "mask-agg"}
    key = {name: ref.mask_key(seed[name], label[name], mh, device) for name in seed}
    sealed = {
        name: sealing.seal_seed(
            seed[name],
            sealing.round_key(terms[f"{name}_round_secret"]),
            given[f"{name}_ephemeral_secret"],
            given.get(f"{name}_sealed_for", label[name]),
            mh,
            device,
        )
        for name in seed
    }
    y = ref.pack(ref.masked(q, key.values()), layout)
    y_hash = ref.vector_hash(y)
    header = ref.cbor(ref.message(mh, device, len(y) // 4, y_hash, *map(ref.sha256, sealed.values())))
    signed = ref.signed(secret, "fanlight/report/v1", header)
    envelope = ref.cbor(ref.message(signed, *sealed.values()))
    return {
        "q": q,
        **{f"{name}_seed": value for name, value in seed.items()},
        **{f"{name}_mask_key": value for name, value in key.items()},
        "y": y,
        "y_hash": y_hash,
        "chunks": ref.chunk_hashes(y),
        **{f"{name}_sealed": value for name, value in sealed.items()},
        "signed_header": signed,
        "report_id": ref.digest("fanlight/report-id/v1", signed),
        "envelope": envelope,
        "body": b"FLR1" + len(envelope).to_bytes(4, "big") + envelope + y,
    }


def ending(main: bytes, agg: bytes, fid: bytes, terms: Fields, out: Mapping[str, Fields]) -> dict[str, Fields]:
    """Close, verdict, release, outcome, proofs, the sum in the clear and both logs."""
    layout, mh = out["manifest"]["layout"], out["manifest"]["mh"]
    reports = {out[n.replace("report", "device")]["device"]: out[n] for n in out if n.startswith("report ")}
    accepted, rejected = [], []
    for device in sorted(reports):
        try:
            sealing.open_seed(reports[device]["main_sealed"], terms["main_round_secret"], "mask-main", mh, device)
        except InvalidTag:
            rejected.append(device)
        else:
            accepted.append(device)
    main_log = [("proposal", out["manifest"]["proposal"]), ("manifest", out["manifest"]["signed_manifest"])]
    agg_log = [("manifest", out["manifest"]["countersigned"])]

    listed = [ref.message(dev, reports[dev]["signed_header"], reports[dev]["main_sealed"]) for dev in sorted(reports)]
    close = ref.message(mh, listed, ref.log_heads(fid, "aggregator", agg_log)[-1])
    close_signed = ref.signed(agg, "fanlight/close/v1", ref.cbor(close))
    agg_log.append(("close", close_signed))

    reasons = [ref.message(device, "seed-unopenable") for device in rejected]
    verdict = ref.message(mh, accepted, reasons, True, "ok", ref.log_heads(fid, "main", main_log)[-1])
    verdict_signed = ref.signed(main, "fanlight/verdict/v1", ref.cbor(verdict))
    main_log += [("close", close_signed), ("verdict", verdict_signed)]
    agg_log.append(("verdict", verdict_signed))

    halves = [
        ref.masked(ref.unpack(reports[d]["y"], layout), [reports[d]["aggregator_mask_key"]], -1) for d in accepted
    ]
    total = [sum(column) % (1 << 32) for column in zip(*halves, strict=True)]
    masked_sum = ref.pack(total, layout)
    ids = {device: reports[device]["report_id"] for device in accepted}
    root = ref.set_root(mh, ids)
    release = ref.message(
        mh, 0, len(accepted), len(masked_sum) // 4, ref.vector_hash(masked_sum), root,
        ref.log_heads(fid, "aggregator", agg_log)[-1],
    )  # fmt: skip
    release_signed = ref.signed(agg, "fanlight/release/v1", ref.cbor(release))
    agg_log.append(("release", release_signed))

    clear = ref.centred(ref.masked(total, [reports[d]["main_mask_key"] for d in accepted], -1), layout)
    outcome = ref.cbor(ref.message(mh, "released", "ok", root))
    outcome_main = ref.signed(main, "outcome-main", outcome)
    both = ref.message(
        outcome, ref.signature(agg, "outcome-agg", outcome), ref.signature(main, "outcome-main", outcome)
    )
    main_log += [("release", release_signed), ("outcome", outcome_main), ("outcome", ref.cbor(both))]
    agg_log.append(("outcome", ref.cbor(both)))
    proofs = [
        ref.message(len(accepted), index, ref.audit_path(index, ref.set_leaves(ids))) for index in range(len(accepted))
    ]
    return {
        "close": {"close": close_signed},
        "verdict": {"accepted": accepted, "rejected": rejected, "verdict": verdict_signed},
        "release": {"masked_sum": masked_sum, "set_root": root, "release": release_signed},
        "sum": {"sum": clear, "mean": mean(clear, layout)},
        "outcome": {
            "main_outcome": outcome_main,
            "signed_outcome": ref.cbor(both),
            "told_to_devices": [ref.cbor(ref.message(both, proof)) for proof in proofs],
        },
        "logs": {
            "main_types": [kind for kind, _ in main_log],
            "main_heads": ref.log_heads(fid, "main", main_log),
            "aggregator_types": [kind for kind, _ in agg_log],
            "aggregator_heads": ref.log_heads(fid, "aggregator", agg_log),
        },
    }


def mean(clear: Sequence[int], layout: Sequence[ref.Segment]) -> list[float]:
    """The update's part times W_max / (scale · Σn): a fraction, then its nearest float64."""
    _, d, _, numerator, denominator, *_ = layout[1]
    unit = Fraction(W_MAX * denominator, numerator * clear[0])
    return [float(number * unit) for number in clear[1 : 1 + d]]
