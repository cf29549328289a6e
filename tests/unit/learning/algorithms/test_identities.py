"""What ties each algorithm to a simpler one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fanlight.errors import SettingsError
from fanlight.learning.algorithms.algorithm import Algorithm
from fanlight.learning.algorithms.ditto import ditto
from fanlight.learning.algorithms.fedadagrad import fedadagrad
from fanlight.learning.algorithms.fedadam import fedadam
from fanlight.learning.algorithms.fedavg import FEDAVG
from fanlight.learning.algorithms.fedavgm import fedavgm
from fanlight.learning.algorithms.fedbn import fedbn
from fanlight.learning.algorithms.fedbuff import fedbuff
from fanlight.learning.algorithms.feddyn import feddyn
from fanlight.learning.algorithms.fednova import fednova
from fanlight.learning.algorithms.fedper import fedper
from fanlight.learning.algorithms.fedprox import fedprox
from fanlight.learning.algorithms.fedrep import fedrep
from fanlight.learning.algorithms.fedyogi import fedyogi
from fanlight.learning.algorithms.local import Received
from fanlight.learning.algorithms.personal import personalised, together
from fanlight.learning.algorithms.robust import ROBUST, flaw_with
from fanlight.learning.algorithms.scaffold import scaffold
from tests.unit.learning.algorithms.problem import LAYOUT, D, Federation, Vector, devices, optimum

TAU = 0.5
FEDAVG_IN_DISGUISE: dict[str, Algorithm] = {
    "FedProx, mu = 0": fedprox(mu=0.0),
    "FedAvgM, beta = 0": fedavgm(beta=0.0, learning_rate=1.0),
    "FedAdam whose sizes stay": fedadam(learning_rate=2 * TAU, beta1=0.0, beta2=1.0, tau=TAU),
    "FedYogi whose sizes stay": fedyogi(learning_rate=2 * TAU, beta1=0.0, beta2=1.0, tau=TAU),
    "FedAdagrad, large tau": fedadagrad(learning_rate=2e6, beta1=0.0, tau=1e6),
    "FedNova, equal steps": fednova(typical_steps=7),
    "Ditto's global model": ditto(pull=0.3),
    "FedPer, nothing personal": fedper(personal=0),
    "FedRep, nothing personal": fedrep(personal=0),
    "FedBN without normalisation": personalised(lambda *_: frozenset(), together, descents=1),
    "FedBuff, fresh updates": fedbuff(learning_rate=1.0, concurrency=0),
}


def run(algorithm: Algorithm, rounds: int = 5, momentum: float = 0.0) -> Vector:
    return Federation(algorithm, devices(momentum=momentum)).rounds(rounds)


@pytest.mark.parametrize("algorithm", FEDAVG_IN_DISGUISE.values(), ids=FEDAVG_IN_DISGUISE)
@pytest.mark.parametrize("momentum", [0.0, 0.6])
def test_it_is_fedavg(algorithm: Algorithm, momentum: float) -> None:
    np.testing.assert_allclose(run(algorithm, momentum=momentum), run(FEDAVG, momentum=momentum), rtol=1e-9)


NOT_FEDAVG: dict[str, Algorithm] = {
    "fedprox": fedprox(mu=1.0),
    "fedavgm": fedavgm(beta=0.9, learning_rate=0.1),
    "fedadam": fedadam(learning_rate=0.1, beta1=0.9, beta2=0.99, tau=0.01),
    "fedyogi": fedyogi(learning_rate=0.1, beta1=0.9, beta2=0.99, tau=0.01),
    "fedadagrad": fedadagrad(learning_rate=0.1, beta1=0.0, tau=0.01),
    "scaffold": scaffold(learning_rate=1.0, control_clip=1e6),
    "feddyn": feddyn(alpha=2.0),
    "fedper": fedper(personal=1),
    "fedrep": fedrep(personal=1),
    "fedbn": fedbn(),
}


@pytest.mark.parametrize("algorithm", NOT_FEDAVG.values(), ids=NOT_FEDAVG)
def test_otherwise_it_is_not(algorithm: Algorithm) -> None:
    """So that the identities above say something."""
    assert np.abs(run(algorithm) - run(FEDAVG)).max() > 1e-3


@pytest.mark.parametrize(
    "algorithm",
    [
        algorithm
        for name, algorithm in (FEDAVG_IN_DISGUISE | {"scaffold": NOT_FEDAVG["scaffold"], "fedavg": FEDAVG}).items()
        if name != "FedAdagrad, large tau"
    ],
)
def test_one_full_batch_step_is_the_centralised_gradient(algorithm: Algorithm) -> None:
    among = devices(steps=1)
    federation = Federation(algorithm, among)
    pictures = np.array([each.pictures for each in among], np.float64)
    gradient = np.average([each.gradient(federation.start) for each in among], axis=0, weights=pictures)
    np.testing.assert_allclose(federation.rounds(1), federation.start - among[0].learning_rate * gradient, rtol=1e-9)


def test_scaffold_with_zero_controls_is_fedavg() -> None:
    assert np.array_equal(run(NOT_FEDAVG["scaffold"], rounds=1), run(FEDAVG, rounds=1))


def test_scaffolds_control_is_option_two_of_the_paper() -> None:
    """The mean of the gradients is c_k - c + (x - y) / (K·rate), for plain steps."""
    federation = Federation(scaffold(1.0, 1e6), devices())
    federation.rounds(2)
    x, c, before = federation.state.parameters, federation.state.memory["control"], list(federation.memories)
    federation.round()
    for k, device in enumerate(federation.members):
        y = x + federation.outcomes[k].update
        expected = before[k]["own_control"] - c + (x - y) / (device.steps * device.learning_rate)
        np.testing.assert_allclose(federation.memories[k]["own_control"], expected, atol=1e-9)


def test_scaffolds_server_control_is_the_mean_of_the_devices() -> None:
    """Also when not all take part, and when changes are clipped."""
    federation = Federation(scaffold(1.0, control_clip=0.5), devices(4))
    for among in ([0, 1, 2, 3], [0, 2], [1], [1, 2, 3]):
        federation.round(among)
        controls = [memory.get("own_control", np.zeros(D)) for memory in federation.memories]
        np.testing.assert_allclose(federation.state.memory["control"], np.mean(controls, axis=0), atol=1e-12)
        for outcome in federation.outcomes:
            assert outcome.control is not None
            assert np.linalg.norm(outcome.control) <= 0.5 + 1e-12


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_fednova_does_not_go_where_most_steps_are(momentum: float) -> None:
    """With many rounds at a small rate it finds the optimum of the weighted sum; FedAvg is drawn to the busy one."""
    among = devices(momentum=momentum, learning_rate=0.01)
    among = [replace(one, steps=1 + 6 * k) for k, one in enumerate(among)]
    weights = [each.pictures / 60 for each in among]
    best = optimum(among, weights)
    far = {
        name: np.linalg.norm(Federation(algorithm, among).rounds(400) - best)
        for name, algorithm in {"nova": fednova(5), "avg": FEDAVG}.items()
    }
    assert far["nova"] < 0.15 * far["avg"]


def test_fednova_does_not_depend_on_its_unit() -> None:
    among = [replace(one, steps=1 + k) for k, one in enumerate(devices(momentum=0.3))]
    one, other = (Federation(fednova(typical), among).rounds(4) for typical in (1, 50))
    np.testing.assert_allclose(one, other, rtol=1e-9)


def test_the_first_devices_of_feddyn_are_those_of_fedprox() -> None:
    dyn, prox = Federation(feddyn(0.7), devices()), Federation(fedprox(0.7), devices())
    dyn.round()
    prox.round()
    for one, other in zip(dyn.outcomes, prox.outcomes, strict=True):
        assert np.array_equal(one.update, other.update)


@pytest.mark.parametrize(
    ("algorithm", "weighted"),
    [(scaffold(1.0, 1e6), False), (feddyn(alpha=2.0), True)],
    ids=["scaffold", "feddyn"],
)
def test_it_finds_the_common_optimum_where_fedavg_does_not(algorithm: Algorithm, *, weighted: bool) -> None:
    among = devices(steps=30)
    best = optimum(among, [each.pictures if weighted else 1.0 for each in among])
    assert np.linalg.norm(Federation(algorithm, among).rounds(100) - best) < 1e-4
    assert np.linalg.norm(Federation(FEDAVG, among).rounds(100) - best) > 0.05


@pytest.mark.parametrize(
    ("algorithm", "weighted"),
    [(scaffold(1.0, 1e6), False), (feddyn(alpha=2.0), True)],
    ids=["scaffold", "feddyn"],
)
@pytest.mark.parametrize("with_all", [True, False], ids=["all in each round", "four in each round"])
def test_it_finds_it_too_where_most_devices_join_later(algorithm: Algorithm, *, weighted: bool, with_all: bool) -> None:
    """Two devices at first, eighteen more after their first round, with other numbers of pictures."""
    among = devices(20, steps=30)
    best = optimum(among, [each.pictures if weighted else 1.0 for each in among])
    federation = Federation(algorithm, among[:2])
    federation.round()
    for device in among[2:]:
        federation.join(device)
    for number in range(200 if with_all else 1000):
        federation.round(None if with_all else [(4 * number + k) % 20 for k in range(4)])
    assert np.linalg.norm(federation.state.parameters - best) < 1e-4


@pytest.mark.parametrize("clip", [0.3, 1.0])
@pytest.mark.parametrize(
    ("algorithm", "weighted"),
    [(scaffold(1.0, 1e6), False), (feddyn(alpha=2.0), True)],
    ids=["scaffold", "feddyn"],
)
def test_it_finds_it_too_where_updates_are_clipped_on_the_way(
    algorithm: Algorithm, clip: float, *, weighted: bool
) -> None:
    """From far away, so that it cuts in many rounds; what is cut off nobody may remember."""
    among = devices(20, steps=30)
    best = optimum(among, [each.pictures if weighted else 1.0 for each in among])
    federation = Federation(algorithm, among, start=np.linspace(-10, 10, D), clip=clip)
    federation.round()
    assert all(np.linalg.norm(outcome.update) > clip for outcome in federation.outcomes)
    assert np.linalg.norm(federation.rounds(600) - best) < 1e-3


@pytest.mark.parametrize("rule", ["median", "geometric-median", "trimmed-mean", "krum"])
@pytest.mark.parametrize("algorithm", [scaffold(1.0, 1e6), feddyn(alpha=2.0)], ids=["scaffold", "feddyn"])
def test_with_a_middle_of_shards_it_never_finds_it_and_so_they_are_refused(algorithm: Algorithm, rule: str) -> None:
    """Twenty honest devices with equally many pictures, in five shards that are drawn anew each round."""
    among = [replace(device, pictures=10) for device in devices(20, steps=30)]
    best = optimum(among, [1.0] * 20)
    mean = Federation(algorithm, among, shards=5)
    middle = Federation(algorithm, among, shards=5, combine=ROBUST[rule])
    assert np.linalg.norm(mean.rounds(200) - best) < 1e-3
    assert np.linalg.norm(middle.rounds(200) - best) > 0.05
    assert flaw_with(algorithm)
    assert not flaw_with(FEDAVG)


def test_dittos_homes_go_their_own_way_without_pull_and_the_global_one_with_much() -> None:
    among = devices(steps=300)
    free, bound = Federation(ditto(pull=0.0), among), Federation(ditto(pull=30.0), among)
    free.rounds(3)
    bound.rounds(3)
    for outcome, device in zip(free.outcomes, among, strict=True):
        np.testing.assert_allclose(outcome.own, device.least, atol=1e-5)
    received = Federation(FEDAVG, among).rounds(2)
    for outcome, device in zip(bound.outcomes, among, strict=True):
        assert np.linalg.norm(outcome.own - received) < 0.2 * np.linalg.norm(device.least - received)


def test_ditto_minimises_what_the_paper_says() -> None:
    """v solves A(v - b) + λ(v - w) = 0."""
    among, pull = devices(steps=2000), 0.8
    federation = Federation(ditto(pull), among)
    federation.round()
    for outcome, device in zip(federation.outcomes, among, strict=True):
        expected = np.linalg.solve(
            device.matrix + pull * np.eye(D), device.matrix @ device.least + pull * federation.start
        )
        np.testing.assert_allclose(outcome.own, expected, atol=1e-9)


@pytest.mark.parametrize(
    ("algorithm", "personal"),
    [(fedper(1), "head.bias"), (fedrep(1), "head.bias"), (fedbn(), "bn.weight"), (fedper(2), "bn.weight")],
)
def test_personal_tensors_stay_at_home(algorithm: Algorithm, personal: str) -> None:
    federation = Federation(algorithm, devices(steps=10))
    federation.rounds(3)
    before, after = LAYOUT.views(federation.start.copy()), LAYOUT.views(federation.state.parameters.copy())
    assert np.array_equal(before[personal], after[personal])
    assert not np.array_equal(before["body.weight"], after["body.weight"])
    own = [LAYOUT.views(outcome.own.copy())[personal] for outcome in federation.outcomes]
    assert len({float(each[0]) for each in own}) == len(own)
    for outcome in federation.outcomes:
        assert not LAYOUT.views(outcome.update.copy())[personal].any()


def test_what_is_normalisation_is_told_and_not_guessed_from_names() -> None:
    """The same device, told that another tensor is; or none, which FedBN refuses as it would be FedAvg."""
    device, start = devices(1)[0], np.linspace(-1, 1, D)
    outcome = fedbn().local(Received(start, LAYOUT, normalisation=frozenset({"head.bias"})), {}, device)
    update = LAYOUT.unflatten(outcome.update)
    assert not update["head.bias"].any()
    assert update["bn.weight"].any()
    with pytest.raises(SettingsError, match="no batch normalisation"):
        fedbn().local(Received(start, LAYOUT), {}, device)


@pytest.mark.parametrize("make", [fedper, fedrep])
@pytest.mark.parametrize("personal", [3, 1000])
def test_something_is_shared(make: Callable[..., Algorithm], personal: int) -> None:
    with pytest.raises(SettingsError, match=f"{personal} of the model's 3 tensors"):
        make(personal=personal).local(Received(np.zeros(D), LAYOUT), {}, devices(1)[0])


@pytest.mark.parametrize("make", [fedper, fedrep])
def test_personal_tensors_are_taken_up_again(make: Callable[..., Algorithm]) -> None:
    algorithm, device = make(personal=1), devices(1, steps=3)[0]
    received = Received(np.linspace(-1, 1, D), LAYOUT)
    one = algorithm.local(received, {}, device)
    again = algorithm.local(received, one.memory, device)
    assert again.own[-1] != one.own[-1]
    assert abs(again.own[-1] - one.own[-1]) < abs(one.own[-1] - received.parameters[-1]) * 2


def test_fedrep_trains_in_turn() -> None:
    """The personal tensor is fitted to the body that was received, the body to the fitted tensor."""
    algorithm, device = fedrep(personal=1), devices(1, steps=500)[0]
    received = Received(np.linspace(-1, 1, D), LAYOUT)
    outcome = algorithm.local(received, {}, device)
    fitted = received.parameters.copy()
    rest = device.matrix[-1, :-1] @ (received.parameters[:-1] - device.least[:-1])
    fitted[-1] = device.least[-1] - rest / device.matrix[-1, -1]
    assert outcome.own[-1] == pytest.approx(fitted[-1], abs=1e-8)
    np.testing.assert_allclose(device.gradient(outcome.own)[:-1], 0.0, atol=1e-8)


def test_fedbuff_makes_old_updates_less() -> None:
    algorithm, device = fedbuff(1.0, 0), devices(1)[0]
    fresh, old = (
        algorithm.local(Received(np.zeros(D), LAYOUT, staleness=staleness), {}, device).update for staleness in (0, 3)
    )
    np.testing.assert_allclose(old, fresh / 2)
