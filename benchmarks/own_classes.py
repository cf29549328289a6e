"""How well does a home learn names of its own from 3, 6 and 20 pictures, on top of the head of all devices?

    make bench NAME=own_classes ARGS="--json"
    make bench NAME=own_classes ARGS="--dataset digits --trials 3"

*digits*, *fashion* and *stamps*: in each trial one class is the home's own, one is a stranger that nobody has pictures
of, the others are the task's. Half of the pictures of the task's classes teach the global head (ridge, as an analytic
federation would), the home has 15 of each (at most a quarter of them) and 3, 6 or 20 of its own. All others are for
testing. *Kind*: the task has that class too, in one with another (sandals are shoes), and the home gives it a name.

*Central* is the rival: one ridge of all these pictures in one place, the home's own name among the classes. What the
task loses is the fall of its balanced accuracy, in points, when the own name is put beside it.

*Strangers*: pictures of the class that nobody knows: the share that is named without a "perhaps", of which 10 % are
wanted, and the share that is called unknown. *Told rightly*: the share of all pictures of the own name, and of the
task's classes, that get their right name from the device, be it with a "perhaps", and are not called unknown; beside it
the share by the home's head alone, which knows no strangers. *Without a "perhaps"*: the share of all that get the right
name so. Each trial has other pictures: a mean over data sets and trials is what a limit is for.

*Advice*: homes with 4 to 16 pictures of each class. Six more of the class that is advised first, beside six more of
each other: by how many points the balanced error falls.

*faces* is not among them: of two classes, none can be held out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only this folder would be on the path

from benchmarks.accuracy import Examples, pooled, read_features
from benchmarks.report import Figure, Report
from fanlight.core.randomness import Keystream
from fanlight.learning import advice, analytic, unknown
from fanlight.learning.datasets import prepare
from fanlight.learning.heads import HeadKind, SoftmaxHead
from fanlight.learning.home_model import Certainty, HomeModel
from fanlight.learning.model_file import HeadModel
from fanlight.learning.own_classes import Home
from fanlight.services.device.home_models import DEFAULT_PERCENT

DATASETS = ("digits", "fashion", "stamps")
OWN = (3, 6, 20)
HOME = 15
MOST_OF_A_CLASS = 250
WANTED = DEFAULT_PERCENT / 100
LEAST_BESIDE_CENTRAL = {3: 0.80, 6: 0.85, 20: 0.90}
"""Least share of the central head's recall of the own name, by pictures of it."""
MOST_LOST = 2.0
"""Points of balanced accuracy that the task may lose."""
MOST_STRANGERS = 0.15
"""Strangers that may be named without a "perhaps" on the mean over data sets, where 10 % are wanted: there are few
classes to play them."""
LEAST_TOLD = {3: 0.75, 6: 0.85, 20: 0.90}
"""Least share of the own pictures that the head names rightly that are not called unknown, by pictures of the name: the
floor promises 1 - 1/(n + 1), and .95 from 19 pictures on, less the error of a mean over homes."""
LEAST_TOLD_TASK = 0.90
"""The same of the task's classes: 15 pictures promise .94."""
LEAST_SURE = 0.50
"""Least share of the own pictures that the head names rightly that are named without a "perhaps": a doubt that
goes with most of what is right says nothing."""
LEAST_SURE_TASK = 0.40
"""The same of the task's classes, whose strangers are the classes most like them (a 4 and a 9)."""
MORE = advice.MORE

Numbers = NDArray[np.intp]


@dataclass(frozen=True)
class Trial:
    """One home.

    Attributes:
        x: (n, f) features of all pictures.
        y: (n,) what each shows: 0 to K - 1, K for the own name, K + 1 for the stranger.
        fleet, here, own, test: which pictures teach the global head, are the home's, are of the own name, and test.
        classes: K.
    """

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    fleet: Numbers
    here: Numbers
    own: Numbers
    test: Numbers
    classes: int

    @property
    def model(self) -> HeadModel:
        """The global head."""
        chosen = self.fleet[self.y[self.fleet] < self.classes]
        held_out = np.arange(chosen.size) % 5 == 4
        learned, choosing = ((self.x[some], self.y[some]) for some in (chosen[~held_out], chosen[held_out]))
        return model_of(analytic.fit_pictures(learned, choosing, self.classes, balanced=True).head)

    def home(self, number: int, model: HeadModel) -> Home:
        """The home with so many pictures of its own name."""
        chosen = np.concatenate([self.here, self.own[:number]])
        return Home.of(model, ("own",), self.x[chosen], self.y[chosen])

    def central(self, number: int) -> HeadModel:
        """All of them in one place."""
        chosen = np.concatenate([self.fleet, self.here, self.own[:number]])
        none = (self.x[:0], self.y[:0])
        ridge = analytic.fit_pictures((self.x[chosen], self.y[chosen]), none, self.classes + 1, balanced=True)
        return model_of(ridge.head)


@dataclass(frozen=True)
class Measured:
    """One home, or the mean of several; shares, but for points.

    Attributes:
        own, own_central: pictures of the own name that the head names rightly, here and centrally.
        lost, lost_central: points that the task loses.
        passing, refused: strangers that are named without a "perhaps", and that are called unknown.
        own_told, own_sure: pictures of the own name that the device names rightly, and without a "perhaps".
        task, task_told, task_sure: as ``own``, ``own_told`` and ``own_sure``, of the task's classes, class by class.
    """

    own: float
    own_central: float
    lost: float
    lost_central: float
    passing: float
    refused: float
    own_told: float
    own_sure: float
    task: float
    task_told: float
    task_sure: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and report; the exit code is 1 where a limit is broken."""
    parser = argparse.ArgumentParser(prog="own_classes", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--dataset", action="append", choices=DATASETS, help="may be given repeatedly; all")
    parser.add_argument("--trials", type=int, default=10, help="homes of each data set")
    parser.add_argument("--seed", type=int, default=0, help="fixes how pictures are drawn")
    parser.add_argument("--json", action="store_true", help="the last line of the output is for programs")
    options = parser.parse_args(arguments)
    chosen = options.dataset or DATASETS
    pictures = {name: features_of(name, options.seed) for name in chosen}
    measured = {name: names_and_strangers(*found, options.trials, options.seed) for name, found in pictures.items()}
    figures = [figure for name, found in measured.items() for figure in per_data_set(name, found)]
    figures += over_data_sets(measured)
    if "fashion" in pictures:
        figures += kinds(*pictures["fashion"], options.trials, options.seed)
    figures += [advised(name, *found, options.trials, options.seed) for name, found in pictures.items()]
    figures.append(speed(*next(iter(pictures.values())), options.seed))
    return Report("own_classes", tuple(figures)).show(as_json=options.json)


def features_of(name: str, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Features and labels, at most ``MOST_OF_A_CLASS`` of a class."""
    with tempfile.TemporaryDirectory(prefix="fanlight-own-") as folder:
        data = prepare(name, 2, seed, Path(folder) / "pictures")
        parts: Mapping[str, Examples] = pooled(read_features(data, Path(folder) / "backbones"))
    x, y = (np.concatenate([getattr(part, which) for part in parts.values()]) for which in "xy")
    some = np.concatenate([np.flatnonzero(y == label)[:MOST_OF_A_CLASS] for label in np.unique(y)])
    return x[some], y[some]


def drawn(
    x: NDArray[np.float32], y: NDArray[np.int64], own: int, stranger: int | None, draw: np.random.Generator
) -> Trial:
    """A home whose own name is the class ``own``."""
    task = [label for label in np.unique(y).tolist() if label not in (own, stranger)]
    numbers = {label: at for at, label in enumerate([*task, own, stranger])}
    shown = np.array([numbers[label] for label in y.tolist()])
    fleet, here, test = [], [], []
    for label in task:
        members = draw.permutation(np.flatnonzero(y == label))
        at_home = min(HOME, members.size // 4)
        half = (members.size - at_home) // 2
        fleet.append(members[:half])
        here.append(members[half : half + at_home])
        test.append(members[half + at_home :])
    mine = draw.permutation(np.flatnonzero(y == own))
    strange = np.flatnonzero(y == stranger) if stranger is not None else np.zeros(0, np.intp)
    test += [mine[max(OWN) :], strange]
    return Trial(x, shown, np.concatenate(fleet), np.concatenate(here), mine, np.concatenate(test), len(task))


def names_and_strangers(x: NDArray[np.float32], y: NDArray[np.int64], trials: int, seed: int) -> dict[int, Measured]:
    """By pictures of the own name, the mean over homes."""
    labels = np.unique(y)
    found: dict[int, list[Measured]] = {number: [] for number in OWN}
    for trial in range(trials):
        draw = np.random.default_rng([seed, trial])
        own, stranger = draw.permutation(labels)[:2].tolist()
        home = drawn(x, y, own, stranger, draw)
        for number in OWN:
            found[number].append(measure(home, number))
    return {number: mean(rows) for number, rows in found.items()}


def measure(trial: Trial, number: int) -> Measured:
    """One home with so many pictures of its own name."""
    model = trial.model
    home = trial.home(number, model)
    chosen = np.concatenate([trial.here, trial.own[:number]])
    found = unknown.familiarity(trial.x[chosen], trial.y[chosen], trial.y[chosen])
    threshold = unknown.threshold(found.strangers, WANTED).score
    answering = HomeModel(home.head(home.solve()), found.familiar, threshold)
    truth = trial.y[trial.test]
    task, mine, strange = truth < trial.classes, truth == trial.classes, truth > trial.classes
    certain = np.array(answering.certainties(trial.x[trial.test]))
    sure, told = certain == Certainty.SURE, certain != Certainty.UNKNOWN
    right, central = best(answering.head, trial) == truth, best(trial.central(number), trial) == truth
    before = recall(model, trial, task)
    return Measured(
        own=float(right[mine].mean()),
        own_central=float(central[mine].mean()),
        lost=100 * (before - balanced(right, truth, task)),
        lost_central=100 * (before - balanced(central, truth, task)),
        passing=float(sure[strange].mean()),
        refused=float(1 - told[strange].mean()),
        own_told=float((right & told)[mine].mean()),
        own_sure=float((right & sure)[mine].mean()),
        task=balanced(right, truth, task),
        task_told=balanced(right & told, truth, task),
        task_sure=balanced(right & sure, truth, task),
    )


def mean(several: Iterable[Measured]) -> Measured:
    """Of homes, or of data sets."""
    return Measured(*map(float, np.mean([astuple(one) for one in several], axis=0)))


def per_data_set(name: str, found: Mapping[int, Measured]) -> list[Figure]:
    """What is to be read of one data set."""
    return [
        Figure(f"{name}, {number} pictures: {what}", value, unit, rival=rival)
        for number, one in found.items()
        for what, value, unit, rival in (
            ("own name found, centrally", one.own, "fraction", one.own_central),
            ("the task loses, centrally", one.lost, "points", one.lost_central),
            ("own name told rightly, by the head alone", one.own_told, "fraction", one.own),
            ('own name rightly without a "perhaps"', one.own_sure, "fraction", None),
            ("task told rightly, by the head alone", one.task_told, "fraction", one.task),
            ('task rightly without a "perhaps"', one.task_sure, "fraction", None),
            ('strangers without a "perhaps", 10 % wanted', one.passing, "fraction", None),
            ("strangers called unknown", one.refused, "fraction", None),
        )
    ]


def over_data_sets(measured: Mapping[str, Mapping[int, Measured]]) -> list[Figure]:
    """What is promised: means over all of them."""
    figures = []
    for number in OWN:
        one, name = mean(found[number] for found in measured.values()), f"all, {number} pictures"
        figures += [
            Figure(f"{name}: own name found, of what the central head finds", one.own / one.own_central, "fraction",
                   at_least=LEAST_BESIDE_CENTRAL[number]),
            Figure(f"{name}: the task loses", one.lost, "points", at_most=MOST_LOST, rival=one.lost_central),
            Figure(f"{name}: own name found, and not called unknown", one.own_told / one.own, "fraction",
                   at_least=LEAST_TOLD[number]),
            Figure(f"{name}: task found, and not called unknown", one.task_told / one.task, "fraction",
                   at_least=LEAST_TOLD_TASK),
            Figure(f'{name}: own name found, and without a "perhaps"', one.own_sure / one.own, "fraction",
                   at_least=LEAST_SURE),
            Figure(f'{name}: task found, and without a "perhaps"', one.task_sure / one.task, "fraction",
                   at_least=LEAST_SURE_TASK),
            Figure(f'{name}: strangers without a "perhaps", 10 % wanted', one.passing, "fraction",
                   at_most=MOST_STRANGERS),
        ]  # fmt: skip
    return figures


def kinds(x: NDArray[np.float32], y: NDArray[np.int64], trials: int, seed: int) -> list[Figure]:
    """Sandals (5), sneakers (7) and boots (9) are one class of the task's, shoes; the home gives its sandals a name."""
    figures, sandal = [], 5
    rows = []
    for trial in range(trials):
        draw = np.random.default_rng([seed, trial, 1])
        home = drawn(x, y, sandal, None, draw)
        shoe = sorted(set(np.unique(y).tolist()) - {sandal}).index(7)
        boot = sorted(set(np.unique(y).tolist()) - {sandal}).index(9)
        shown = np.where(home.y == boot, shoe, home.y)
        known = draw.permutation(home.own[max(OWN) :])
        fleet, test = known[: known.size // 2], known[known.size // 2 :]
        model = trial_of_shoes(replace(home, y=shown), fleet, shoe)
        six = replace(home, y=shown, test=np.concatenate([home.test[home.y[home.test] < home.classes], test]))
        found = six.home(6, model)
        head = found.head(found.solve())
        truth, named = six.y[six.test], best(head, six)
        mine, shoes = truth == six.classes, truth == shoe
        rows.append([(named[mine] == six.classes).mean(), (named[shoes] == shoe).mean()])
    own, others = map(float, np.mean(rows, axis=0))
    figures.append(Figure("kind: six sandals with a name, among shoes: found", own, "fraction"))
    figures.append(Figure("kind: other shoes still called shoes", others, "fraction"))
    return figures


def trial_of_shoes(trial: Trial, sandals: Numbers, shoe: int) -> HeadModel:
    """The global head for which sandals are shoes too."""
    shown = trial.y.copy()
    shown[sandals] = shoe
    chosen = np.concatenate([trial.fleet, sandals])
    ridge = analytic.fit_pictures(
        (trial.x[chosen], shown[chosen]), (trial.x[:0], shown[:0]), trial.classes, balanced=True
    )
    return model_of(ridge.head)


def advised(name: str, x: NDArray[np.float32], y: NDArray[np.int64], trials: int, seed: int) -> Figure:
    """What six more pictures of the class that is advised first bring, beside those of any other."""
    gains = []
    for trial in range(trials):
        draw = np.random.default_rng([seed, trial, 2])
        labels = draw.permutation(np.unique(y))
        home = drawn(x, y, int(labels[0]), int(labels[1]), draw)
        numbers = draw.integers(4, 17, home.classes + 1)
        pools = [draw.permutation(home.here[home.y[home.here] == label]) for label in range(home.classes)]
        pools.append(home.own[: max(OWN)])
        numbers = np.minimum(numbers, [max(2, pool.size - MORE) for pool in pools])
        have = [pool[:number] for pool, number in zip(pools, numbers, strict=True)]
        model = home.model
        now = error(home, model, have)
        known = homes_of(home, model, have)
        order = advice.worths(known, known.solve(), range(home.classes + 1), Keystream(bytes(32)))
        worth = [now - error(home, model, with_more(have, pools, at)) for at in range(home.classes + 1)]
        first = order[0].label
        gains.append([worth[first], np.mean(np.delete(worth, first))])
    of_first, of_others = map(float, 100 * np.mean(gains, axis=0))
    return Figure(f"advice, {name}: six more pictures of the class advised first", of_first, "points", rival=of_others)


def with_more(have: Sequence[Numbers], pools: Sequence[Numbers], at: int) -> list[Numbers]:
    """The home with six more pictures of one class."""
    return [pools[at][: some.size + MORE] if label == at else some for label, some in enumerate(have)]


def homes_of(trial: Trial, model: HeadModel, have: Sequence[Numbers]) -> Home:
    """The home with these pictures."""
    chosen = np.concatenate(list(have))
    return Home.of(model, ("own",), trial.x[chosen], trial.y[chosen])


def error(trial: Trial, model: HeadModel, have: Sequence[Numbers]) -> float:
    """Balanced error on the test pictures."""
    home = homes_of(trial, model, have)
    return 1 - recall(home.head(home.solve()), trial, trial.y[trial.test] <= trial.classes)


def speed(x: NDArray[np.float32], y: NDArray[np.int64], seed: int) -> Figure:
    """Seconds until a home of some 130 pictures has its head and its threshold, features apart."""
    trial = drawn(x, y, 0, None, np.random.default_rng(seed))
    model = trial.model
    chosen = np.concatenate([trial.here, trial.own[:6]])
    times = []
    for _ in range(5):
        began = time.perf_counter()
        home = trial.home(6, model)
        home.head(home.solve())
        found = unknown.familiarity(trial.x[chosen], trial.y[chosen], trial.y[chosen])
        unknown.threshold(found.strangers, WANTED)
        times.append(time.perf_counter() - began)
    return Figure(f"head and threshold of {chosen.size} pictures", 1e3 * min(times), "ms")


def model_of(head: SoftmaxHead) -> HeadModel:
    """A head as a model of an analytic task."""
    classes = tuple(str(label) for label in range(head.classes))
    return HeadModel("own", 1, classes, "none", "0" * 64, 64, head.weight, head.bias, kind=HeadKind.ANALYTIC)


def best(model: HeadModel, trial: Trial) -> NDArray[np.intp]:
    """What each test picture is named."""
    named: NDArray[np.intp] = model.head.logits(model.read(trial.x[trial.test])).argmax(axis=1)
    return named


def recall(model: HeadModel, trial: Trial, some: NDArray[np.bool_]) -> float:
    """Balanced accuracy on some of the test pictures."""
    truth = trial.y[trial.test]
    return balanced(best(model, trial) == truth, truth, some)


def balanced(right: NDArray[np.bool_], truth: NDArray[np.int64], some: NDArray[np.bool_]) -> float:
    """The share of some pictures that is right, each class counting equally."""
    return float(np.mean([right[truth == label].mean() for label in np.unique(truth[some])]))


if __name__ == "__main__":
    sys.exit(main())
