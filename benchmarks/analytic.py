"""How good is a head that is solved in one round, beside the best that all pictures in one place could teach?

    make bench NAME=analytic ARGS="--json"
    make bench NAME=analytic ARGS="--only accuracy --dataset digits"
    make bench NAME=analytic ARGS="--only fashion --long"

*accuracy*: each data set dealt out to 50 devices that see one class each, through the real masks (``secure_sum``);
*pooled* is the best of all linear heads on the same pictures in one place, by the test pictures themselves: ridge for
every strength of the grid, with and without weights of classes, and softmax regression with the task's settings, until
it gets no better. It is a choice that nobody could make who has not seen them, so it flatters the rival. Logits are
compared with those of a ridge that is solved by its definition, in float64; so are those of the demonstration's two
devices, where little rounding is left to average out. Of digits these see 0-4 and 5-9.

*stamps*: balanced accuracy of five folds, each held out once; a fifth of the others chooses the ridge. The sum of three
ways to draw the folds. Beside it the same head on the pixels of the pictures, at 32 px, instead of features.

*fashion*: the first 10,000 pictures of Fashion-MNIST at 96 px, one class a device, on its 10,000 test pictures; FedAvg
of the same devices after 1, 10 and (``--long``) 50 rounds beside it. All learn from all 10,000; the analytic head holds
a fifth of them out to choose its ridge by, and learns from these, too.

*speed*: a device of 100 pictures with 1,280 features: the sums; rounding them; bringing them into the ring, two masks,
and the hash of the result, each apart; a whole report, which has seals and a signature besides; main's checks, and its
solutions. The fastest of many counts: other programs may be running.
"""

from __future__ import annotations

import argparse
import functools
import operator
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only this folder would be on the path

from benchmarks import secure_sum
from benchmarks.accuracy import MOST_EPOCHS, PATIENCE, Examples, Parts, pooled, read_features
from benchmarks.report import Figure, Report
from fanlight.core import ring
from fanlight.core.masks import add_mask
from fanlight.core.metrics import Metrics
from fanlight.core.packing import pack
from fanlight.core.randomness import Keystream
from fanlight.learning import analytic
from fanlight.learning.analytic import LAMBDAS, SHARPNESS, Statistics
from fanlight.learning.backbones import DEFAULT_BACKBONE, compile_backbone
from fanlight.learning.datasets import DataSet, prepare
from fanlight.learning.datasets.fashion import DEBIAN_FOLDER, read_idx
from fanlight.learning.evaluation import evaluate
from fanlight.learning.features import FeatureExtractor
from fanlight.learning.folders import scan
from fanlight.learning.heads import HeadKind, SoftmaxHead, as_read, unit, zero_head
from fanlight.learning.pictures import load
from fanlight.learning.split import PARTS as SPLIT
from fanlight.learning.training import train
from fanlight.learning.training_settings import TrainingSettings
from fanlight.protocol.contribution import Contribution, encode
from fanlight.protocol.device import Device
from fanlight.protocol.digests import VectorDigest
from fanlight.protocol.identities import Trust
from fanlight.protocol.statistics import Sums, why_impossible

PARTS = ("accuracy", "stamps", "fashion", "speed")
DATASETS = ("faces", "digits", "fashion", "stamps")
DEVICES = 50
MOST_DIFFERENCE = 1e-4
MOST_POINTS_BEHIND = 0.5
FEWEST_RIGHT_OF_TWO = 0.92
FEWEST_RIGHT_OF_STAMPS = 0.84
FEWEST_RIGHT_OF_FASHION = {DEFAULT_BACKBONE: 0.88, "efficientnet-lite0-levels": 0.89}
MOST_MS = {"sums": 4.0, "solve": 50.0}
FASHION_PICTURES = 10_000
FIRST = 1_000
FASHION_SIDE = 96
FOLDS = 5
DRAWS = 3
RAW_SIDE = 32


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and report; the exit code is 1 where a limit is broken."""
    parser = argparse.ArgumentParser(prog="analytic", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", action="append", choices=PARTS, help="may be given repeatedly; all")
    parser.add_argument("--dataset", action="append", choices=DATASETS, help="of the accuracies; all")
    parser.add_argument("--seed", type=int, default=0, help="fixes how pictures are drawn and split")
    parser.add_argument("--long", action="store_true", help="FedAvg for 50 rounds, too")
    parser.add_argument("--json", action="store_true", help="the last line of the output is for programs")
    options = parser.parse_args(arguments)
    parts: dict[str, Callable[[], list[Figure]]] = {
        "accuracy": lambda: [figure for name in options.dataset or DATASETS for figure in accuracy(name, options.seed)],
        "stamps": lambda: stamps(options.seed),
        "fashion": lambda: fashion((1, 10, 50) if options.long else (1, 10)),
        "speed": speed,
    }
    figures = [figure for part in options.only or PARTS for figure in parts[part]()]
    return Report("analytic", tuple(figures)).show(as_json=options.json)


# ---- accuracy


def accuracy(name: str, seed: int) -> list[Figure]:
    """The figures of one data set."""
    with tempfile.TemporaryDirectory(prefix="fanlight-analytic-") as folder:
        data = prepare(name, 2, seed, Path(folder) / "pictures")
        two = read_features(data, Path(folder) / "backbones")
    pool, classes = pooled(two), len(data.classes)
    found, of_two = solved(deal(pool, DEVICES, classes), classes), solved(two, classes)
    right, best = score(found.head, pool["test"], classes), best_pooled(pool, classes, seed)
    figures = [
        Figure(f"{name}: logits, 50 devices of one class, from pooled ridge", difference(found, pool, classes),
               "logits", at_most=MOST_DIFFERENCE),
        Figure(f"{name}: logits, two devices, from pooled ridge", difference(of_two, pool, classes), "logits",
               at_most=MOST_DIFFERENCE),
        Figure(f"{name}: balanced accuracy, 50 devices of one class", right, "fraction", rival=best),
        Figure(f"{name}: behind the best pooled linear head", 100 * (best - right), "points",
               at_most=MOST_POINTS_BEHIND),
    ]  # fmt: skip
    if name == "digits":
        right_of_two = score(of_two.head, pool["test"], classes)
        figures.append(
            Figure(
                "digits: two devices, 0-4 and 5-9, one round", right_of_two, "fraction", at_least=FEWEST_RIGHT_OF_TWO
            )
        )
    return figures


def deal(pool: Parts, devices: int, classes: int) -> list[Parts]:
    """Each device gets pictures of one class: those of a class are shared by the devices whose turn it is.

    Of fewer devices than classes, nobody has the rest.
    """

    def share(part: Examples, device: int) -> Examples:
        members = np.flatnonzero(part.y == device % classes)
        mine = members[device // classes :: len(range(device % classes, devices, classes))]
        return Examples(part.x[mine], part.y[mine])

    return [{part: share(examples, device) for part, examples in pool.items()} for device in range(devices)]


def solved(devices: Sequence[Parts], classes: int) -> analytic.Ridge:
    """The head from the masked sums of all devices."""
    features = devices[0]["train"].x.shape[1]
    plan = secure_sum.plan_of("analytic", features, classes)
    train_part, held_out = secure_sum.summed(plan, [sums_of(device, classes) for device in devices]).parts
    return analytic.fit(Statistics(*train_part), Statistics(*held_out), balanced=True)


def sums_of(device: Parts, classes: int) -> Sums:
    """What a device sends."""
    parts = [analytic.collect(device[part].x, device[part].y, classes) for part in ("train", "valid")]
    return Sums.rounded(*((part.gram, part.sums, part.examples) for part in parts))


def difference(found: analytic.Ridge, pool: Parts, classes: int) -> float:
    """The largest difference of a logit of a test picture from the ridge of all pictures, solved in float64."""
    x, y = (np.concatenate([getattr(pool[part], which) for part in ("train", "valid")]) for which in "xy")
    train_part, held_out = (analytic.collect(pool[part].x, pool[part].y, classes) for part in ("train", "valid"))
    strength, _ = analytic.choose(train_part, held_out)
    phi, test = with_constant(x), with_constant(pool["test"].x)
    pooled_ridge = np.linalg.solve(phi.T @ phi + strength * np.eye(phi.shape[1]), phi.T @ np.eye(classes)[y])
    scores = test[:, :-1] @ found.weight + found.bias
    expected = test @ pooled_ridge * analytic.balance(np.bincount(y, minlength=classes))
    return float(SHARPNESS * np.abs(scores - expected).max())


def with_constant(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Features at length 1, in float64, and the constant."""
    return np.hstack([unit(x).astype(np.float64), np.full((len(x), 1), analytic.CONSTANT)])


def score(head: SoftmaxHead, test: Examples, classes: int, kind: HeadKind = HeadKind.ANALYTIC) -> float:
    """Balanced accuracy."""
    names = [str(number) for number in range(classes)]
    counts = evaluate(head.weight, head.bias, as_read(kind, test.x), test.y, names)
    return Metrics.from_confusion(counts.confusion).balanced_accuracy or 0.0


def best_pooled(pool: Parts, classes: int, seed: int) -> float:
    """The best balanced accuracy of any linear head on all pictures in one place."""
    statistics = [analytic.collect(pool[part].x, pool[part].y, classes) for part in ("train", "valid")]
    both = statistics[0] + statistics[1]
    solutions = [analytic.solve(both, strength) for strength in LAMBDAS]
    weights = analytic.balance(both.examples)
    weighted = [replace(ridge, weight=ridge.weight * weights, bias=ridge.bias * weights) for ridge in solutions]
    ridges = [score(ridge.head, pool["test"], classes) for ridge in (*solutions, *weighted)]
    return max(*ridges, *(softmax(pool, classes, seed, kind) for kind in (HeadKind.SOFTMAX, HeadKind.ANALYTIC)))


def softmax(pool: Parts, classes: int, seed: int, kind: HeadKind) -> float:
    """Softmax regression, on features as they come or brought to one length."""
    settings = replace(TrainingSettings(), epochs=MOST_EPOCHS, patience=PATIENCE)
    learn, valid = ((as_read(kind, pool[part].x), pool[part].y) for part in ("train", "valid"))
    start = zero_head(learn[0].shape[1], classes)
    result = train(start, *learn, *valid, settings, Keystream(seed.to_bytes(32, "big")))
    return score(SoftmaxHead(result.weight, result.bias), pool["test"], classes, kind)


# ---- stamps


def stamps(seed: int) -> list[Figure]:
    """Over five folds, from features and from raw pixels."""
    with tempfile.TemporaryDirectory(prefix="fanlight-analytic-") as folder:
        data = prepare("stamps", 2, seed, Path(folder) / "pictures")
        parts = pooled(read_features(data, Path(folder) / "backbones"))
        raw = read_pixels(data)
    x, y = (np.concatenate([getattr(part, which) for part in parts.values()]) for which in "xy")
    right, of_pixels = (cross_validated(Examples(each, y), len(data.classes), seed) for each in (x, raw))
    name = "stamps: balanced accuracy, 5 folds"
    return [
        Figure(f"{name}, 128 px", right, "fraction", at_least=FEWEST_RIGHT_OF_STAMPS),
        Figure(f"{name}, raw pixels, {RAW_SIDE} px", of_pixels, "fraction"),
    ]


def read_pixels(data: DataSet) -> NDArray[np.float32]:
    """(n, 3·side²) pixels between -1 and 1, in the order of ``pooled``."""
    devices = [scan(folder, data.classes) for folder in data.device_folders]
    paths = [picture.path for part in SPLIT for pictures in devices for picture in pictures.part(part)]
    rows: NDArray[np.float32] = np.stack([load(path, RAW_SIDE).ravel() for path in paths]).astype(np.float32)
    return rows / 127.5 - 1


def cross_validated(pictures: Examples, classes: int, seed: int) -> float:
    """Balanced accuracy over five folds, several times drawn."""
    confusion = np.zeros((classes, classes), np.int64)
    for draw in range(DRAWS):
        confusion += confusion_of_folds(pictures.x, pictures.y, classes, np.random.default_rng([seed, draw]))
    return Metrics.from_confusion(confusion).balanced_accuracy or 0.0


def confusion_of_folds(
    x: NDArray[np.float32], y: NDArray[np.int64], classes: int, draw: np.random.Generator
) -> NDArray[np.int64]:
    """(K, K) of heads that are solved without a fold, on it, over all folds."""
    fold_of = np.empty(y.size, np.int64)
    for label in range(classes):  # every fold has its share of every class
        members = np.flatnonzero(y == label)
        fold_of[members] = draw.permutation(members.size) % FOLDS
    sums = [analytic.collect(x[fold_of == fold], y[fold_of == fold], classes) for fold in range(FOLDS)]
    confusion = np.zeros((classes, classes), np.int64)
    for fold in range(FOLDS):
        choosing, *learning = (sums[(fold + step) % FOLDS] for step in range(1, FOLDS))
        ridge = analytic.fit(functools.reduce(operator.add, learning), choosing, balanced=True)
        held_out = fold_of == fold
        logits = ridge.head.logits(as_read(HeadKind.ANALYTIC, x[held_out]))
        np.add.at(confusion, (y[held_out], logits.argmax(axis=1)), 1)
    return confusion


# ---- fashion


def fashion(rounds: Sequence[int]) -> list[Figure]:
    """One class a device; the head of one round, on the features of both backbones, and FedAvg."""
    figures = []
    for backbone, least in FEWEST_RIGHT_OF_FASHION.items():
        with tempfile.TemporaryDirectory(prefix="fanlight-analytic-") as folder:
            extractor = FeatureExtractor(compile_backbone(backbone, Path(folder)), FASHION_SIDE, threads=2)
            learn, test = (read_fashion(extractor, part) for part in ("train", "t10k"))
        validating = np.arange(learn.y.size) % 5 == 4
        pool = {
            "train": Examples(learn.x[~validating], learn.y[~validating]),
            "valid": Examples(learn.x[validating], learn.y[validating]),
        }
        devices, whole = deal(pool, 10, 10), [device["all"] for device in deal({"all": learn}, 10, 10)]
        solution = solved(devices, 10).head
        right = score(solution, test, 10)
        name = f"fashion, 10,000 pictures, 96 px, {backbone}, one class a device"
        figures.append(Figure(f"{name}: one round", right, "fraction", at_least=least))
        first = Examples(test.x[:FIRST], test.y[:FIRST])
        figures.append(
            Figure(f"{name}: of the first {FIRST:,} test pictures alone", score(solution, first, 10), "fraction")
        )
        head, settings = zero_head(learn.x.shape[1], 10), TrainingSettings()
        for number in range(1, max(rounds) + 1 if backbone == DEFAULT_BACKBONE else 1):
            head = fedavg_round(head, whole, settings)
            if number in rounds:
                accuracy_then = score(head, test, 10, HeadKind.SOFTMAX)
                figures.append(Figure(f"{name}: FedAvg, {number} rounds", accuracy_then, "fraction"))
    return figures


def read_fashion(extractor: FeatureExtractor, part: str) -> Examples:
    """Features of the first 10,000 pictures of a file."""
    pictures = read_idx(DEBIAN_FOLDER / f"{part}-images-idx3-ubyte.gz", 0x803)[:FASHION_PICTURES]
    labels = read_idx(DEBIAN_FOLDER / f"{part}-labels-idx1-ubyte.gz", 0x801)[:FASHION_PICTURES]

    def square(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        size = (FASHION_SIDE, FASHION_SIDE)
        return np.asarray(Image.fromarray(picture).convert("RGB").resize(size, Image.Resampling.BICUBIC))

    some = range(0, len(pictures), 16)
    rows = [extractor.run(np.stack([square(picture) for picture in pictures[at : at + 16]])) for at in some]
    return Examples(np.concatenate(rows), labels.astype(np.int64))


def fedavg_round(head: SoftmaxHead, devices: Sequence[Examples], settings: TrainingSettings) -> SoftmaxHead:
    """The mean of what the devices train, by their pictures."""
    none = (np.zeros((0, head.features), np.float32), np.zeros(0, np.int64))
    results = [train(head, device.x, device.y, *none, settings, Keystream(os.urandom(32))) for device in devices]
    share = np.array([device.y.size for device in devices], np.float64)
    share /= share.sum()
    weight = sum(part * result.weight for part, result in zip(share, results, strict=True))
    bias = sum(part * result.bias for part, result in zip(share, results, strict=True))
    return SoftmaxHead(np.asarray(weight, np.float32), np.asarray(bias, np.float32))


# ---- speed


def speed(features: int = 1280, classes: int = 10, repeat: int = 20) -> list[Figure]:
    """Times of one device of 100 pictures, and of main."""
    draw = np.random.default_rng(1)
    x, y = draw.normal(size=(100, features)).astype(np.float32), draw.integers(0, classes, 100)
    found = analytic.collect(x, y, classes)
    part = (found.gram, found.sums, found.examples)
    sums, plan = Sums.rounded(part, part), secure_sum.plan_of("analytic", features, classes)
    told = secure_sum.open_round(plan)
    said = Contribution(100, None, None, None, np.ones(classes, np.bool_), sums=sums)
    device = Device(Ed25519PrivateKey.generate(), bytes(16), Trust(bytes(32), bytes(32), bytes(32)))
    stream, layout = Keystream(os.urandom(32)), told.manifest.proposal.layout
    vector, keys = encode(layout, said, stream), (os.urandom(32), os.urandom(32))
    timed: list[tuple[str, Callable[[], object], str]] = [
        ("sums of 100 pictures", partial(analytic.collect, x, y, classes), "sums"),
        ("rounding the sums of both parts", partial(Sums.rounded, part, part), ""),
        ("into the ring", partial(encode, layout, said, stream), ""),
        ("two masks", partial(mask, vector, keys), ""),
        ("hash", lambda: hashed(pack(vector, layout)), ""),
        ("a whole report: ring, two masks, seals, hash",
         partial(device.commit, told.signed, told.manifest, said, stream, 1), ""),
        ("main: checks of the sum", partial(why_impossible, sums, 1), ""),
        ("main: one solution", partial(analytic.solve, found, 0.1), "solve"),
        ("main: choose a ridge, and solve", partial(analytic.fit, found, found), ""),
    ]  # fmt: skip
    return [
        Figure(f"speed: {name}", 1e3 * fastest(work, repeat), "ms", at_most=MOST_MS.get(limit))
        for name, work, limit in timed
    ]


def mask(vector: NDArray[Any], keys: Sequence[bytes]) -> None:
    """Add the masks of these keys in place."""
    for key in keys:
        add_mask(vector, key)


def hashed(y: NDArray[np.uint32]) -> bytes:
    """H(y), as a report's header has it."""
    digest = VectorDigest()
    digest.update(ring.to_bytes(y))
    return digest.digest()


def fastest(work: Callable[[], object], repeat: int) -> float:
    """Seconds of the fastest of so many runs."""
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


if __name__ == "__main__":
    sys.exit(main())
