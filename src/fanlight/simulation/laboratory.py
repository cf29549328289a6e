"""The front door: a study in, a result out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from fanlight.core.cores import usable_cores
from fanlight.errors import DataError, SettingsError, from_os_error
from fanlight.simulation import baselines, data, population
from fanlight.simulation.attacks.registry import planned
from fanlight.simulation.cheats import Cheats
from fanlight.simulation.checkpoint import Checkpoints
from fanlight.simulation.data import Data
from fanlight.simulation.engines import check_engine
from fanlight.simulation.fingerprint import fingerprint
from fanlight.simulation.folder import write
from fanlight.simulation.learners import HeadLearner, Learner
from fanlight.simulation.members import Members
from fanlight.simulation.memories import Memories
from fanlight.simulation.modules import ModuleLearner
from fanlight.simulation.reporter import Reporter
from fanlight.simulation.result import Line, Result
from fanlight.simulation.running import Run
from fanlight.simulation.server import Server
from fanlight.simulation.study import Study
from fanlight.simulation.threads import single_threaded
from fanlight.simulation.vectors import vectors_of
from fanlight.simulation.workshop import Workshop

STATE = Path("fanlight-state")


def _ignore(_: Line) -> None:
    """The ``on_round`` of those who do not watch."""


def simulate(
    study: Study,
    examples: Data | None = None,
    *,
    folder: Path | None = None,
    engine: str = "forked",
    workers: int = 0,
    state: Path = STATE,
    on_round: Callable[[Line], None] = _ignore,
    on_features: Callable[[int, int], None] | None = None,
) -> Result:
    """Run a study.

    Args:
        study: what is simulated.
        examples: data of one's own, in place of the study's data set.
        folder: where the run is kept, so that it can go on when it was interrupted; None = nowhere.
        engine: ``forked``, ``inline`` or ``ray``; the result is the same.
        workers: of the engine; 0 = one for each core.
        state: where features of pictures are kept from one study to the next.
        on_round: told of each round; what it raises ends the run, and passes through.
        on_features: told how many pictures of how many have features, if that has to be worked out.

    Raises:
        SettingsError, DataError, ModelError, StorageError: the study, its data, a training or the disk.
    """
    check_engine(engine)
    with ExitStack() as stack:
        kept = folder if folder is not None else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        _make(kept)
        stack.enter_context(single_threaded(modules=bool(study.module)))
        found = examples or data.load(
            study.dataset,
            state,
            as_pixels=bool(study.module),
            picture_size=study.picture_size,
            on_progress=on_features,
        )
        run = _run(study, found, kept, None if folder is None else folder, engine, workers or usable_cores(), on_round)
        standing = run.run()
        result = run.result(standing)
        if study.baselines:
            as_they_are = population.divide(study, found) if run.workshop.cheats.who else run.workshop.population
            result = baselines.with_baselines(run, standing, as_they_are, result)
        if folder is not None:
            write(result, run.workshop.learner.layout, folder)
        return result


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise from_os_error(error, str(folder)) from error


def _run(
    study: Study,
    found: Data,
    kept: Path,
    folder: Path | None,
    engine: str,
    workers: int,
    on_round: Callable[[Line], None],
) -> Run:
    cheats = Cheats.of(planned(study.attack), study.devices, study.seed)
    divided = population.divide(study, found, cheats)
    learner = _learner(study, found)
    algorithm = study.made_algorithm
    algorithm.at_home(learner.layout, learner.normalisation)
    features = learner.features if isinstance(learner, HeadLearner) else 0
    vectors = vectors_of(study, found.classes, divided.most_pictures, features=features, parameters=learner.layout.size)
    members = Members(study.seed, vectors, study.shards)
    if study.fidelity == "protocol" and not vectors.fits_plan:
        raise SettingsError(
            f"A model of {vectors.parameters} parameters is too long for the protocol, whose models are heads.",
            next="Leave out fidelity = protocol.",
        )
    workshop = Workshop(
        seed=study.seed,
        learner=learner,
        algorithm=algorithm,
        population=divided,
        vectors=vectors,
        memories=Memories(kept / "memories"),
        cheats=cheats,
        reporter=Reporter(members) if study.fidelity == "protocol" else None,
    )
    server = Server(algorithm, study.combine, learner.per_class, study.supporters, study.devices)
    of = "" if folder is None else fingerprint(divided, learner)
    checkpoints = Checkpoints(folder, study.as_json(), of)
    return Run(study, workshop, server, study.made_world, checkpoints, members, engine, workers, on_round)


def _learner(study: Study, found: Data) -> Learner:
    if study.module:
        return ModuleLearner(study.module, study.seed, len(found.classes), study.training.settings)
    if found.x.ndim != 2:
        raise DataError(f"a head learns from features (n, f), not from {found.x.shape}", next="Name a module.")
    return HeadLearner(study.head, found.x.shape[1], found.classes, study.training.settings)
