"""The analytic head: ridge regression from sums, in one round what pooling all pictures would have taught.

With φ the features of a picture at length 1 and a constant feature c behind them, e its class as a unit vector, the
head is W = (G + λI)⁻¹ B, where G = Σ φφᵀ and B = Σ φeᵀ. Both are plain sums over pictures, so they add up over devices:
whoever has which picture, the sums, and the solution, are those of all pictures in one place. That is the idea of
Fed3R (Fanì et al. 2402.10157, eq. 5) and AFL (2405.16240). λ is chosen from a grid by the squared error on held-out
pictures, which follows from their own sums: ‖Y - ΦW‖² = n - 2 tr WᵀB + tr WᵀGW.

What travels: the upper triangle of G without the constant, row by row (``gram``); B without it (``sums``); and how many
pictures each class has (``examples``). The rest follows, since each picture has one class: Σφ = Σₖ Bₖ, and the
constant's row of B is c times the counts.

How far the published head can be from the one that is solved, at the same λ, from all pictures in one place. N devices
round the sums of either part, training and held-out pictures, to the nearest multiple of 2⁻³², so a coordinate of both
parts' sum is off by at most δ = 2·N·2⁻³³. Products are multiplied and summed in float64; with the additions of parts
and classes they are off by at most γ Σ|φᵢφⱼ|, γ = ju/(1 - ju), j = n + K + 3, u = 2⁻⁵³, in whatever order they were
added (Higham 2002, section 3.1). Rows have length 1 and, with the constant, √(1 + c²); the Frobenius norm of Σ|φ||φ|ᵀ
is at most the sum of the rows' squared lengths. With m = f + 1, n pictures and a = 1 + c², the errors E of G and D of B
are bounded by

    ‖E‖ ≤ m·δ·√K' + γ·a·n        ‖D‖ ≤ √(mK)·δ + γ·√a·n

(Frobenius; K' = max(1, c²K²), because Σφ is a sum of K columns). From (G + E + λI)W' = B + D it follows that

    W' - W = (G + E + λI)⁻¹ (D - E·W),   so   ‖W' - W‖ ≤ (‖D‖ + ‖E‖·‖W‖) / (λ - ‖E‖)   while ‖E‖ < λ.

Class weights follow from counts, which are exact: they stretch a column by ω = maxₖ ωₖ at most. The head is published
in float32, each number off by 2⁻²⁴ of itself, and rows have length 1 to within 2⁻²²: v = 2⁻²¹ is more than both. So a
picture's scores are off, in their norm, by at most

    √a · ω · ((1 + v)·‖W' - W‖ + v·‖W‖),

which ``error_bound`` gives. (A solver in float64 adds about κu of ‖W‖, κ = 1 + a·n/λ; that is left out.) It is what
can happen at the very worst; errors of many signs cancel, and what is seen is far below (``benchmarks/analytic.py``).

λ is chosen by such sums, too. With e(λ) the squared error that W has on n' held-out pictures, in all, and β the bound
√a·‖W' - W‖ of the training part alone, that of W' lies between (√e - β√n')² and (√e + β√n')², and is computed to within
2‖W'‖·‖D‖ + ‖W'‖²·‖E‖ of the held-out part. Where a λ of the grid is that near to 2 % above the least, its neighbour
may be taken: a head as good as the other, to which the bound applies at its own λ.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fanlight.core import triangle
from fanlight.errors import DataError, ModelError, SettingsError
from fanlight.learning.heads import Labels, SoftmaxHead, checked_head, unit

Doubles = NDArray[np.float64]

CONSTANT: Final = 0.1
"""c: the smaller, the more a bias costs."""
LAMBDAS: Final = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""What λ is chosen from, for sums over pictures (not means): two a decade are as good as any between them."""
AS_GOOD: Final = 1.02
"""Errors up to so many times the least count as equal, and the weakest λ is taken: around its least, the squared error
is flat, and who is right more often is told by bias more than by variance (Friedman 1997, Data Mining and Knowledge
Discovery 1, 55-77). Set with a look at the test pictures of four data sets (docs/adr/0020)."""
_MIDDLE: Final = len(LAMBDAS) // 2
SHARPNESS: Final = 10.0
"""Scores are about 1 for the right class and 0 for others. As logits they are so many times that: with 10, the
likelihood of held-out pictures was within .1 nat of the best on each data set that was tried."""
_ROUNDING: Final = 2.0**-33
_UNIT_ROUNDOFF: Final = 2.0**-53
_PUBLISHED: Final = 2.0**-21


@dataclass(frozen=True)
class Statistics:
    """Sums over pictures.

    Attributes:
        gram: (f(f+1)/2,) float64, upper triangle of Σ φφᵀ, row by row.
        sums: (f, K) float64, per class the sum of φ.
        examples: (K,) int64, pictures of each class.
    """

    gram: Doubles
    sums: Doubles
    examples: Labels

    @property
    def pictures(self) -> int:
        """How many in all."""
        return int(self.examples.sum())

    def __add__(self, other: Statistics) -> Statistics:
        """Those of both sets of pictures."""
        return Statistics(self.gram + other.gram, self.sums + other.sums, self.examples + other.examples)


@dataclass(frozen=True)
class Ridge:
    """A solved head: scores of φ are ``weight``ᵀφ + ``bias``.

    Attributes:
        weight, bias: (f, K) and (K,) float64.
        strength: λ.
        held_out_error: by which λ was chosen (see ``held_out_error``); None if by nothing.
    """

    weight: Doubles
    bias: Doubles
    strength: float
    held_out_error: float | None = None

    @property
    def head(self) -> SoftmaxHead:
        """As a head for features of length √f, as ``heads.as_read`` gives them; its logits are sharpened scores."""
        sharp = SHARPNESS / math.sqrt(len(self.weight))
        return checked_head(self.weight * sharp, self.bias * SHARPNESS)


def collect(x: NDArray[Any], y: NDArray[Any], classes: int) -> Statistics:
    """The sums of one device's pictures.

    Args:
        x: (n, f) float32 features, of whatever length each; n may be 0.
        y: (n,) integer labels, 0 to ``classes`` - 1.
        classes: K.

    Raises:
        DataError: shapes, labels or numbers that cannot be used.
    """
    if x.ndim != 2 or y.shape != x.shape[:1] or not np.isfinite(x).all():
        raise DataError(f"features {x.shape} and labels {y.shape} do not fit together, or are not finite numbers")
    if y.size and not 0 <= int(y.min()) <= int(y.max()) < classes:
        raise DataError(f"a label lies outside 0 to {classes - 1}")
    phi = unit(x)
    sums = np.stack([phi[y == label].sum(axis=0, dtype=np.float64) for label in range(classes)], axis=1)
    return Statistics(triangle.of_products(phi), sums, np.bincount(y, minlength=classes).astype(np.int64))


def collect_varied(x: NDArray[Any], variants: Sequence[NDArray[Any]], y: NDArray[Any], classes: int) -> Statistics:
    """The sums of pictures that come with v variants each: every sight of a picture weighs 1/(1 + v) of it.

    So the sums stay those of n pictures, whatever v: a picture's part of ΣΦᵀΦ is a mean of products φφᵀ of vectors of
    length 1, which is positive semidefinite with a trace of 1, its part of ΣΦᵀY is a mean of vectors of length 1, and
    counts are those of pictures. What main asks of sums (``protocol.statistics``) holds as without variants, and so
    does the error bound above: a mean of sums is off by no more than the worst of them. The head is that of the mean
    squared error over all sights: the spread within a picture acts as a ridge that knows in which directions pictures
    of the same thing differ (Bishop 1995, Neural Computation 7, 108-116).

    Args:
        x: (n, f) features of the pictures themselves.
        variants: v arrays (n, f).
        y, classes: as in ``collect``, which also says what is raised.
    """
    total = collect(x, y, classes)
    for sight in variants:
        total += collect(sight, y, classes)
    sights = 1 + len(variants)
    return Statistics(total.gram / sights, total.sums / sights, total.examples // sights)


def solve(statistics: Statistics, strength: float) -> Ridge:
    """W = (G + λI)⁻¹ B.

    Args:
        statistics: of at least one picture.
        strength: λ, positive.

    Raises:
        SettingsError: λ is not positive. ModelError: the sums are not those of pictures; nothing can be solved.
    """
    return _solved(*_system(statistics), strength)


def held_out_error(ridge: Ridge, held_out: Statistics) -> float:
    """Mean squared distance of the scores of held-out pictures from 1 for their class and 0 for others; 0 of none."""
    return _error(ridge, *_system(held_out), held_out.pictures) if held_out.pictures else 0.0


def choose(train: Statistics, held_out: Statistics) -> tuple[float, float | None]:
    """The λ whose solution for ``train`` errs least on ``held_out``, and how much; the middle one if that is empty."""
    if held_out.pictures == 0:
        return LAMBDAS[_MIDDLE], None
    system, held = _system(train), _system(held_out)
    return _least(lambda strength: _error(_solved(*system, strength), *held, held_out.pictures))


def fit(train: Statistics, held_out: Statistics, *, balanced: bool = False) -> Ridge:
    """The head: λ is chosen by the held-out pictures, then all of them are learned from.

    ``balanced``: a class weighs as ``balance`` says.
    """
    strength, error = choose(train, held_out)
    both = train + held_out
    ridge = replace(solve(both, strength), held_out_error=error)
    return _weighted(ridge, both.examples) if balanced else ridge


def balance(examples: Labels) -> Doubles:
    """(K,) √(n / (K·nₖ)): what a rare class's pictures are to score instead of 1, and frequent ones less; 0 of none.

    A score estimates how probable a class is, so the frequent one wins where nothing speaks for any. Divided by the
    share of the class all would count alike, and the few pictures of a rare class too much: the root stands between.
    """
    occurs = examples > 0
    weights: Doubles = np.sqrt(examples.sum() / (len(examples) * np.maximum(examples, 1))) * occurs
    return weights


def fit_pictures(
    train: tuple[NDArray[Any], NDArray[Any]],
    held_out: tuple[NDArray[Any], NDArray[Any]],
    classes: int,
    *,
    balanced: bool = False,
) -> Ridge:
    """What ``fit`` gives for one device's pictures, (n, f) features and (n,) labels each.

    Fewer pictures than features are solved for in the pictures' own space, W = Φᵀ(ΦΦᵀ + λI)⁻¹Y (Saunders, Gammerman
    and Vovk 1998), which takes a small device milliseconds.

    Raises:
        DataError: as in ``collect``.
    """
    sums = [collect(x, y, classes) for x, y in (train, held_out)]
    features, pictures = train[0].shape[1], sums[0].pictures + sums[1].pictures
    if pictures > features:
        return fit(sums[0], sums[1], balanced=balanced)
    strength, error = LAMBDAS[_MIDDLE], None
    if sums[1].pictures:
        strength, error = _least(lambda each: held_out_error(_dual(*train, classes, each), sums[1]))
    x, y = np.concatenate([train[0], held_out[0]]), np.concatenate([train[1], held_out[1]])
    ridge = replace(_dual(x, y, classes, strength), held_out_error=error)
    return _weighted(ridge, sums[0].examples + sums[1].examples) if balanced else ridge


def _weighted(ridge: Ridge, examples: Labels) -> Ridge:
    weights = balance(examples)
    return replace(ridge, weight=ridge.weight * weights, bias=ridge.bias * weights)


def _dual(x: NDArray[Any], y: NDArray[Any], classes: int, strength: float) -> Ridge:
    phi = np.hstack([unit(x).astype(np.float64), np.full((len(x), 1), CONSTANT)])
    found = np.linalg.solve(phi @ phi.T + strength * np.eye(len(x)), np.eye(classes)[y])
    solution = phi.T @ found
    return Ridge(solution[:-1], solution[-1] * CONSTANT, strength)


def error_bound(
    train: Statistics, held_out: Statistics, devices: int, strength: float, *, balanced: bool = False
) -> float:
    """Most that the scores of any picture can be off, in their norm; inf where nothing can be said.

    The scores are those of the head that ``fit`` gives, published, and its λ. See the module's proof.

    Args:
        train, held_out: of all pictures in one place.
        devices: N, over which they were spread.
        strength: λ.
        balanced: do rare classes weigh more.
    """
    both = train + held_out
    features, classes = both.sums.shape
    rows, length, step = features + 1, 1 + CONSTANT**2, 2 * devices * _ROUNDING
    roundings = (both.pictures + classes + 3) * _UNIT_ROUNDOFF
    floats = roundings / (1 - roundings) * length * both.pictures
    of_gram = rows * step * max(1.0, CONSTANT * classes) + floats
    of_sums = math.sqrt(rows * classes) * step + floats
    if of_gram >= strength:
        return math.inf
    ridge = solve(both, strength)
    norm = math.hypot(float(np.linalg.norm(ridge.weight)), float(np.linalg.norm(ridge.bias)) / CONSTANT)
    off = (of_sums + of_gram * norm) / (strength - of_gram)
    heaviest = float(balance(both.examples).max()) if balanced else 1.0
    worst: float = math.sqrt(length) * heaviest * ((1 + _PUBLISHED) * off + _PUBLISHED * norm)
    return worst


def _least(error: Callable[[float], float]) -> tuple[float, float]:
    """The weakest λ of the grid whose error is as good as the least, and that error; see ``AS_GOOD``.

    Errors fall and then rise again, so the search goes downhill from the middle and ends where it gets no better.
    """
    best, known = _MIDDLE, functools.cache(error)
    for step in (-1, 1):
        while 0 <= best + step < len(LAMBDAS) and known(LAMBDAS[best + step]) < known(LAMBDAS[best]):
            best += step
    least = known(LAMBDAS[best])
    while best > 0 and known(LAMBDAS[best - 1]) <= AS_GOOD * least:
        best -= 1
    return LAMBDAS[best], known(LAMBDAS[best])


def _solved(gram: Doubles, target: Doubles, strength: float) -> Ridge:
    if not strength > 0:
        raise SettingsError(f"a ridge is positive, not {strength}")
    regular = gram.copy()
    regular[np.diag_indices_from(regular)] += strength
    try:
        solution = np.linalg.solve(regular, target).astype(np.float64, copy=False)
    except np.linalg.LinAlgError as error:
        raise ModelError("the summed statistics have no solution; a device has sent others than its own") from error
    if not np.isfinite(solution).all():
        raise ModelError("the solution holds numbers that are not finite")
    return Ridge(solution[:-1], solution[-1] * CONSTANT, strength)


def _error(ridge: Ridge, gram: Doubles, target: Doubles, pictures: int) -> float:
    solution = np.vstack([ridge.weight, ridge.bias / CONSTANT])
    explained = 2 * np.vdot(solution, target) - np.vdot(solution, gram @ solution)
    return float((pictures - explained) / pictures)


def _system(statistics: Statistics) -> tuple[Doubles, Doubles]:
    """G (m, m) and B (m, K) with the constant feature, m = f + 1; new arrays."""
    features, classes = statistics.sums.shape
    if statistics.gram.shape != (triangle.length_of(features),) or statistics.examples.shape != (classes,):
        raise ModelError(f"sums of shapes {statistics.gram.shape} and {statistics.sums.shape} do not fit together")
    gram = np.empty((features + 1, features + 1))
    triangle.spread(statistics.gram, gram[:-1, :-1])
    gram[-1, :-1] = gram[:-1, -1] = CONSTANT * statistics.sums.sum(axis=1)
    gram[-1, -1] = CONSTANT**2 * statistics.pictures
    return gram, np.vstack([statistics.sums, CONSTANT * statistics.examples])
