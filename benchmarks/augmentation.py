"""What variants of pictures are worth and cost, and how far a split that knows no copies overstates a model.

    make bench NAME=augmentation ARGS="--json"
    make bench NAME=augmentation ARGS="--only accuracy --dataset stamps"

*accuracy*: balanced accuracy of a solved head (ridge 0.1) and of a trained one (50 passes) from 3, 6 and 12 pictures of
each class, with four variants of each, never mirrored where left and right matter; *rival* is the same head from the
pictures alone. All other pictures are test pictures; the mean over draws of the training pictures, the same for both.

*weights*: Fashion-MNIST, five classes of 50 training pictures on five homes, five classes of 5 on a home each: FedAvg
of ten rounds, without class weights, with each home's own counts, and with those of the federation.

*leak*: stamps, each with three altered copies: smaller and recompressed, brighter, shifted. A quarter of the stamps is
new to everything, with their copies; the rest is split as a device splits it, and by content hash alone. *Overstated*
is accuracy on the split's own test pictures minus that on the new ones.

*cost*: 100 stamps as they are and in four variants, from files to features, beside ONNX Runtime alone on as many
decoded squares (processor time, the least of three); peak memory of a process with the features of 1,000 pictures
and their variants; and the time to group 5,000 pictures, no two alike, and half of them of one scene.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageEnhance

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only this folder would be on the path

from benchmarks.report import Figure, Report, say
from fanlight.cli.processes import peak_from_proc
from fanlight.core.metrics import Metrics
from fanlight.core.randomness import Keystream
from fanlight.learning import alike, analytic, looks, pictures
from fanlight.learning.augmentation_settings import Augmentation
from fanlight.learning.backbones import DEFAULT_BACKBONE, compile_backbone
from fanlight.learning.datasets import prepare
from fanlight.learning.datasets.chance import Chance
from fanlight.learning.datasets.prepare import SOURCES
from fanlight.learning.datasets.shapes import CLASSES as SHAPES
from fanlight.learning.datasets.shapes import draw
from fanlight.learning.evaluation import evaluate
from fanlight.learning.features import FeatureExtractor, Sights
from fanlight.learning.folders import LabelledPicture, scan
from fanlight.learning.heads import HeadKind, SoftmaxHead, as_read, zero_head
from fanlight.learning.looks import COLOURS
from fanlight.learning.split import PARTS, split
from fanlight.learning.training import train
from fanlight.learning.training_settings import TrainingSettings

PARTS_OF_IT = ("accuracy", "weights", "leak", "cost")
DATASETS = ("faces", "stamps", "fashion", "digits")
VARIANTS = 4
WAYS = {
    "mirrored": Augmentation(VARIANTS, flip=True),
    "cut out": Augmentation(VARIANTS, zoom_percent=20),
    "light": Augmentation(VARIANTS, light_percent=20),
    "all": Augmentation(VARIANTS, flip=True, zoom_percent=20, light_percent=20),
}
NOT_MIRRORED = {way: replace(how, flip=False) for way, how in WAYS.items() if way != "mirrored"}
EACH = (3, 6, 12)
RIDGE = 0.1
PASSES = 50
MOST_OF_A_CLASS = 80
MOST_MEGABYTES = 300.0
MOST_SECONDS_TO_GROUP = 5.0
FREQUENT, RARE = 50, 5
ROUNDS = 10

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and report; the exit code is 1 where a limit is broken."""
    parser = argparse.ArgumentParser(prog="augmentation", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", action="append", choices=PARTS_OF_IT, help="may be given repeatedly; all")
    parser.add_argument("--dataset", action="append", choices=DATASETS, help="of the accuracies; all")
    parser.add_argument("--draws", type=int, default=6, help="ways to draw the training pictures")
    parser.add_argument("--json", action="store_true", help="the last line of the output is for programs")
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.memory:
        return _take_memory(Path(options.memory))
    with tempfile.TemporaryDirectory(prefix="fanlight-augmentation-") as name:
        folder = Path(name)
        parts: dict[str, Callable[[], Iterator[Figure]]] = {
            "accuracy": lambda: (
                figure for each in options.dataset or DATASETS for figure in accuracy(folder, each, options.draws)
            ),
            "weights": lambda: weights(folder),
            "leak": lambda: leak(folder),
            "cost": lambda: cost(folder),
        }
        figures = [say(figure) for part in options.only or PARTS_OF_IT for figure in parts[part]()]
    return Report("augmentation", tuple(figures)).show(as_json=options.json)


# ---- accuracy


def some_of(folder: Path, name: str) -> tuple[list[LabelledPicture], int]:
    """At most ``MOST_OF_A_CLASS`` pictures of each class, and their size."""
    data = prepare(name, 1, 0, folder / "pictures")
    found = scan(data.device_folders[0], data.classes)
    chosen: list[LabelledPicture] = []
    for label in range(len(data.classes)):
        members = sorted(
            (each for part in PARTS for each in found.part(part) if each.label == label),
            key=lambda each: each.content_hash,
        )
        chosen += members[:MOST_OF_A_CLASS]
    return chosen, data.picture_size


def extractor_of(folder: Path, size: int) -> FeatureExtractor:
    """With one thread, and no cache."""
    return FeatureExtractor(compile_backbone(DEFAULT_BACKBONE, folder / "backbones"), size, threads=1)


def accuracy(folder: Path, name: str, draws: int) -> Iterator[Figure]:
    """Of one data set."""
    chosen, size = some_of(folder, name)
    extractor, y = extractor_of(folder, size), np.array([each.label for each in chosen], np.int64)
    wanted = [Sights(each.path, VARIANTS) for each in chosen]
    for way, how in (WAYS if SOURCES[name].flip else NOT_MIRRORED).items():
        rows = extractor.extract_sights(wanted, augmentation=how).reshape(len(chosen), 1 + VARIANTS, -1)
        sights = [np.ascontiguousarray(rows[:, number]) for number in range(1 + VARIANTS)]
        for each in EACH:
            for head, learn in (("solved", solved), ("trained", trained)):
                scores = np.array([few(sights, y, each, seed, learn) for seed in range(draws)]).mean(axis=0)
                yield Figure(f"{name}: {each} of a class, {head}, {way}", scores[0], "fraction", rival=scores[1])


def few(
    sights: Sequence[Floats], y: Labels, each: int, seed: int, learn: Callable[[Sequence[Floats], Labels, int], Scorer]
) -> tuple[float, float]:
    """Balanced accuracy from ``each`` pictures of a class, with their variants and without."""
    chance, classes = np.random.default_rng(seed), int(y.max()) + 1
    drawn = np.concatenate([chance.permutation(np.flatnonzero(y == label))[:each] for label in range(classes)])
    rest = np.setdiff1d(np.arange(y.size), drawn)
    varied = learn([sight[drawn] for sight in sights], y[drawn], classes)
    plain = learn([sights[0][drawn]], y[drawn], classes)
    return varied(sights[0][rest], y[rest]), plain(sights[0][rest], y[rest])


Scorer = Callable[[Floats, Labels], float]


def solved(sights: Sequence[Floats], y: Labels, classes: int) -> Scorer:
    """By ridge regression."""
    head = analytic.solve(analytic.collect_varied(sights[0], sights[1:], y, classes), RIDGE).head
    return lambda x, labels: score(head, as_read(HeadKind.ANALYTIC, x), labels)


def trained(sights: Sequence[Floats], y: Labels, classes: int) -> Scorer:
    """By gradient descent."""
    nothing = np.empty((0, sights[0].shape[1]), np.float32), np.empty(0, np.int64)
    settings, start = TrainingSettings(epochs=PASSES), zero_head(sights[0].shape[1], classes)
    found = train(start, sights[0], y, *nothing, settings, Keystream(bytes(32)), variants=sights[1:])
    return lambda x, labels: score(SoftmaxHead(found.weight, found.bias), x, labels)


def score(head: SoftmaxHead, x: Floats, y: Labels) -> float:
    """Balanced accuracy."""
    counts = evaluate(head.weight, head.bias, x, y, [str(label) for label in range(head.classes)])
    found = Metrics.from_confusion(counts.confusion).balanced_accuracy
    return float("nan") if found is None else found


# ---- class weights


def weights(folder: Path) -> Iterator[Figure]:
    """FedAvg with rare classes on homes of their own."""
    chosen, size = some_of(folder, "fashion")
    x = extractor_of(folder, size).extract([each.path for each in chosen])
    y, chance = np.array([each.label for each in chosen], np.int64), np.random.default_rng(1)
    members = [chance.permutation(np.flatnonzero(y == label)) for label in range(10)]
    homes = [np.concatenate([some[:FREQUENT][home::5] for some in members[:5]]) for home in range(5)]
    homes += [some[:RARE] for some in members[5:]]
    rest = np.concatenate([some[FREQUENT:] for some in members])
    plain = TrainingSettings(class_weights=False)
    ways = {
        "no class weights": plain,
        "each home's own counts": replace(plain, class_weights=True),
        "the federation's counts": replace(plain, class_weights=True, class_counts=(FREQUENT,) * 5 + (RARE,) * 5),
    }
    for way, settings in ways.items():
        yield Figure(f"weights: {way}", score(averaged(x, y, homes, settings), x[rest], y[rest]), "fraction")


def averaged(x: Floats, y: Labels, homes: Sequence[NDArray[np.int64]], settings: TrainingSettings) -> SoftmaxHead:
    """The head after some rounds; homes weigh by their pictures."""
    head, nothing = zero_head(x.shape[1], 10), (np.empty((0, x.shape[1]), np.float32), np.empty(0, np.int64))
    total = sum(home.size for home in homes)
    for number in range(ROUNDS):
        weight, bias = head.weight * 0, head.bias * 0
        for home, members in enumerate(homes):
            stream = Keystream(bytes([number, home]) + bytes(30))
            own = train(head, x[members], y[members], *nothing, settings, stream)
            weight += np.float32(members.size / total) * own.weight
            bias += np.float32(members.size / total) * own.bias
        head = SoftmaxHead(weight, bias)
    return head


# ---- the leak


def leak(folder: Path) -> Iterator[Figure]:
    """How far each split overstates."""
    chosen, size = some_of(folder, "stamps")
    own = folder / "copies"
    labels, origins, paths = [], [], []
    for origin, each in enumerate(chosen):
        for number, data in enumerate(altered(each.path)):
            path = own / f"{origin:04d}-{number}.jpg"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            paths.append(path)
            labels.append(each.label)
            origins.append(origin)
    x, y = extractor_of(folder, size).extract(paths), np.array(labels, np.int64)
    names = [pictures.content_hash(path) for path in paths]
    seen = {name: looks.look(path).look for name, path in zip(names, paths, strict=True)}
    found: dict[str, list[tuple[float, float, int]]] = {"groups": [], "hash": []}
    for draw_number in range(4):
        new = np.isin(origins, np.random.default_rng(draw_number).permutation(len(chosen))[: len(chosen) // 4])
        here = {name: int(label) for name, label, apart in zip(names, y, new, strict=True) if not apart}
        groups = alike.groups([(name, *seen[name]) for name in sorted(here)])
        for way, known in (("groups", groups), ("hash", [])):
            part_of = split(here, known)
            at = {part: np.array([part_of.get(name) == part for name in names]) for part in PARTS}
            learn = at["train"] | at["valid"]
            scorer = solved([x[learn]], y[learn], int(y.max()) + 1)
            found[way].append((scorer(x[at["test"]], y[at["test"]]), scorer(x[new], y[new]), at["test"].sum()))
    for way, title in (("hash", "split by content alone"), ("groups", "split by groups")):
        own_test, truth, tests = np.array(found[way]).mean(axis=0)
        yield Figure(f"leak: {title}, on its own test pictures", own_test, "fraction")
        yield Figure(f"leak: {title}, on new stamps", truth, "fraction")
        yield Figure(f"leak: {title}, overstated", 100 * (own_test - truth), "points")
        yield Figure(f"leak: {title}, test pictures", tests / (len(names) * 0.75), "fraction")


def altered(path: Path) -> list[bytes]:
    """A picture and three copies, as JPEG."""
    whole = Image.fromarray(pictures.load(path, 256))
    copies = [
        (whole, 92),
        (whole.resize((154, 154)), 60),
        (ImageEnhance.Brightness(whole).enhance(1.06), 92),
        (ImageChops.offset(whole, 3, 2), 92),
    ]
    made = []
    for copy, quality in copies:
        out = io.BytesIO()
        copy.save(out, "JPEG", quality=quality)
        made.append(out.getvalue())
    return made


# ---- cost


def cost(folder: Path) -> Iterator[Figure]:
    """Seconds and megabytes."""
    chosen, size = some_of(folder, "stamps")
    extractor, how = extractor_of(folder, size), WAYS["all"]
    squares = np.stack([pictures.load(each.path, size) for each in chosen[:100]])
    wanted = [each.path for each in chosen[:100]]
    for variants in (0, VARIANTS):
        sights = [Sights(path, variants) for path in wanted]
        ours = fastest(lambda sights=sights: extractor.extract_sights(sights, augmentation=how))  # type: ignore[misc]
        many = np.concatenate([squares] * (1 + variants))
        bare = fastest(lambda many=many: [extractor.run(many[at : at + 8]) for at in range(0, len(many), 8)])  # type: ignore[misc]
        yield Figure(f"cost: 100 stamps and {variants} variants of each", ours, "processor s", rival=bare)
    child = [sys.executable, __file__, "--memory", str(folder)]
    megabytes = float(subprocess.run(child, stdout=subprocess.PIPE, text=True, check=True).stdout)
    yield Figure("cost: memory for 1,000 pictures and 4 variants of each", megabytes, "MB", at_most=MOST_MEGABYTES)
    chance = np.random.default_rng(0)
    apart = [(str(n), chance.bytes(8), chance.bytes(COLOURS)) for n in range(5000)]
    scene = chance.bytes(8), chance.integers(0, 250, COLOURS)
    flicker = [(scene[1] + chance.integers(0, 4, COLOURS)).astype(np.uint8).tobytes() for _ in range(2500)]
    same = [(f"s{number}", scene[0], colours) for number, colours in enumerate(flicker)]
    for title, seen in (("no two alike", apart), ("half of them of one scene", apart[:2500] + same)):
        seconds = fastest(lambda seen=seen: alike.groups(seen))  # type: ignore[misc]
        yield Figure(f"cost: grouping 5,000 pictures, {title}", seconds, "processor s", at_most=MOST_SECONDS_TO_GROUP)


def fastest(work: Callable[[], object]) -> float:
    """Of three runs, in seconds of the processor: other programs may be running."""
    times = []
    for _ in range(3):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def _take_memory(folder: Path) -> int:
    """As a device does: features of 1,000 pictures and their variants, kept, and then drawn from; prints MB."""
    chance, drawn = Chance("augmentation/memory", 0), folder / "thousand"
    drawn.mkdir()
    for number in range(1000):
        Image.fromarray(draw(SHAPES[number % 4], chance)).save(drawn / f"{number}.png", compress_level=1)
    wanted = [Sights(path, VARIANTS) for path in sorted(drawn.iterdir())]
    rows = extractor_of(folder, 128).extract_sights(wanted, augmentation=WAYS["all"]).reshape(1000, 1 + VARIANTS, -1)
    sights = [np.ascontiguousarray(rows[:, number]) for number in range(1 + VARIANTS)]
    trained(sights, np.arange(1000) % 4, 4)
    peak = peak_from_proc(os.getpid())  # getrusage may give the peak of who began the process
    assert peak is not None
    print(peak / 1e6)
    return 0


if __name__ == "__main__":
    sys.exit(main())
