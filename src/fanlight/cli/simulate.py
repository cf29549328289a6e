"""``fanlight simulate``: a laboratory of many devices, without processes or network."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fanlight.cli import simulate_connect
from fanlight.cli.saying import say
from fanlight.errors import UsageError
from fanlight.services.lifeline import end_with_stdin_if_asked

if TYPE_CHECKING:
    from fanlight.simulation import Line, Result, Study

_SEEDS = 3
_K_MIN = 5


def simulate(
    *,
    studies: Annotated[
        list[Path] | None, typer.Argument(metavar="[STUDY.toml]...", help="What to simulate; options below change it.")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(metavar="NAME|DIR", help="digits, faces, fashion, shapes, stamps, or a folder of pictures."),
    ] = None,
    partition: Annotated[
        str | None, typer.Option(metavar="P", help="Who has what: iid, dirichlet:0.1, classes:1, quantity:power=1, …")
    ] = None,
    devices: Annotated[
        int | None, typer.Option(metavar="N", help="How many.  [default: 100]", show_default=False)
    ] = None,
    cohort: Annotated[int | None, typer.Option(metavar="N", help="Drawn for each round; 0 = all.")] = None,
    rounds: Annotated[
        int | None, typer.Option(metavar="N", help="How many.  [default: 10]", show_default=False)
    ] = None,
    algorithm: Annotated[
        str | None, typer.Option(metavar="NAME[:P=V,…]", help="Such as fedprox:mu=0.5; see docs/algorithms.md.")
    ] = None,
    head: Annotated[str | None, typer.Option(metavar="HEAD", help="softmax, analytic or prototypes.")] = None,
    module: Annotated[
        str | None, typer.Option(metavar="MODULE:FUNCTION", help="Makes a torch.nn.Module that is trained instead.")
    ] = None,
    world: Annotated[str | None, typer.Option(metavar="W", help="Who is there, how fast, who drops out.")] = None,
    attack: Annotated[str | None, typer.Option(metavar="A", help="Who cheats, and how.")] = None,
    fidelity: Annotated[
        str | None, typer.Option(metavar="F", help="fast, or protocol: the real role machines and masks; same bits.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Fixes everything that is drawn.")] = None,
    more: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other field, such as clip=5 or training.epochs=1."),
    ] = None,
    baselines: Annotated[
        bool,
        typer.Option("--baselines", help="Also: all pictures in one place, each device alone, what homes have."),
    ] = False,
    compare: Annotated[
        bool, typer.Option("--compare", help=f"Run all studies, with --seeds N seeds each (default {_SEEDS}).")
    ] = False,
    seeds: Annotated[int, typer.Option(metavar="N", min=1, help="Of a comparison.")] = _SEEDS,
    engine: Annotated[str, typer.Option(metavar="E", help="forked, inline or ray; the same result.")] = "forked",
    workers: Annotated[int, typer.Option(metavar="N", min=0, help="0 = one for each core.")] = 0,
    connect: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Work at live servers instead: the main server's address.", show_default=False
        ),
    ] = None,
    tokens: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="With --connect, a folder of the operator's token files, one for each device.",
            show_default=False,
        ),
    ] = None,
    aggregator_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="With --connect, the aggregator's, if it is not where tokens say.", show_default=False
        ),
    ] = None,
    accept_demo: Annotated[
        bool,
        typer.Option("--accept-demo", help="With --connect, join even a demo federation of two devices."),
    ] = False,
    k_min: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            min=2,
            max=1 << 20,
            help="With --connect, fewest devices in a sum joined.  [default: 5]",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the result.")] = None,
    state: Annotated[Path, typer.Option(metavar="DIR", help="Where features and results are kept.")] = Path(
        "fanlight-state"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one line of JSON.")] = False,
) -> None:
    """Simulate a federation of many devices on this machine: in seconds, with the same numbers every time.

    Devices learn by the code that deployed devices run.  A run that is interrupted goes on where it stopped when it is
    asked for again; so does one that is asked for with more rounds.  With --connect, devices enrol and work at live
    servers, whose task says what they do.  docs/simulation.md has examples.
    """
    given = {
        "dataset": dataset, "partition": partition, "devices": devices, "cohort": cohort, "rounds": rounds,
        "algorithm": algorithm, "head": head, "module": module, "world": world, "attack": attack,
        "fidelity": fidelity, "seed": seed, "baselines": baselines or None,
    }  # fmt: skip
    changes = {name: value for name, value in given.items() if value is not None} | _more(more or [])
    paths = studies or []
    if compare and not paths:
        raise UsageError("--compare takes one study or more.", next="For example: --compare a.toml b.toml")
    if len(paths) > 1 and not compare:
        raise UsageError("Several studies are compared, or run one by one.", next="Add --compare.")
    path = paths[0] if paths else None
    if connect is not None and compare:
        raise UsageError("--compare runs studies here; live servers run one at a time.", next="Leave out one of both.")
    if connect is None and (tokens or aggregator_url or accept_demo or k_min):
        raise UsageError(
            "--tokens, --aggregator-url, --accept-demo and --k-min say how to work at live servers.",
            next="Add --connect URL.",
        )
    end_with_stdin_if_asked()
    # what a module of somebody's own prints is no part of the result
    with _interruptible(), redirect_stdout(sys.stderr) if as_json else nullcontext():
        if connect is not None:
            result = simulate_connect.connect(
                partial(_study, path, changes),
                connect,
                tokens,
                aggregator_url=aggregator_url,
                accept_demo=accept_demo,
                k_min=k_min or _K_MIN,
                out=out,
                state=state,
            )
            if result is None:
                raise typer.Exit(1)
            _say_result(result)
            printed = result.as_json()
        elif compare:
            printed = _compare(paths, changes, seeds, engine, workers, out, state)
        else:
            printed = _one(path, changes, engine, workers, out, state)
    if as_json:
        print(json.dumps(printed, separators=(",", ":")))


def _more(words: list[str]) -> dict[str, Any]:
    """The fields of ``--set``; values are as in TOML, or else texts."""
    import tomllib

    found: dict[str, Any] = {}
    for each in words:
        name, equals, value = each.partition("=")
        if not equals:
            raise UsageError(f"--set {each} has no value.", next="Write it like: --set training.epochs=1")
        try:
            read = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            read = value
        outer, dot, inner = name.partition(".")
        if not dot:
            found[outer] = read
        elif isinstance(table := found.setdefault(outer, {}), dict):
            table[inner] = read
        else:
            raise UsageError(f"--set {each}: {outer} is {table} already.", next=f"Leave out --set {outer}=….")
    return found


def _study(path: Path | None, changes: Mapping[str, Any]) -> Study:
    from fanlight.simulation import Study

    return Study.of(changes) if path is None else Study.read(path, **changes)


def _one(
    path: Path | None, changes: Mapping[str, Any], engine: str, workers: int, out: Path | None, state: Path
) -> dict[str, Any]:
    from fanlight.simulation import folder

    study = _study(path, changes)
    place = out or folder.folder_of(study, state)
    result = _run(study, place, engine, workers, state)
    _say_result(result)
    say(f"Report: {place / folder.REPORT}")
    return result.as_json()


def _compare(
    paths: list[Path],
    changes: Mapping[str, Any],
    seeds: int,
    engine: str,
    workers: int,
    out: Path | None,
    state: Path,
) -> dict[str, Any]:
    from fanlight.simulation import comparison, folder

    studies = {path.stem: _study(path, changes) for path in paths}
    first = next(iter(studies.values())).seed

    def run(name: str, seed: int) -> Result:
        say(f"{name}, seed {seed}")
        study = studies[name].model_copy(update={"seed": seed})
        return _run(study, folder.folder_of(study, state), engine, workers, state)

    compared = comparison.compare([path.stem for path in paths], run, range(first, first + seeds))
    place = out or state / "simulations" / "-".join(studies)[:80]
    found = comparison.write(compared, place)
    for each in found["studies"]:
        figures = each["balanced_accuracy"]
        say(f"{each['name']}: {figures['mean']:.4f} ({figures['least']:.4f} to {figures['most']:.4f})")
    say(f"Report: {place / 'report.html'}")
    return found


def _run(study: Study, place: Path, engine: str, workers: int, state: Path) -> Result:
    from fanlight.cli.simulate_progress import Progress
    from fanlight.simulation import simulate as run

    if study.module:
        sys.path.insert(0, str(Path.cwd()))  # where it lies
    with Progress(study.rounds) as progress:
        return run(
            study,
            folder=place,
            engine=engine,
            workers=workers,
            state=state,
            on_round=progress.round_done,
            on_features=progress.features,
        )


def _say_result(result: Result) -> None:
    last: Line = result.last
    words = f"Balanced accuracy {last.balanced_accuracy:.4f}, loss {last.loss:.4f} after {last.round} round"
    words += "s" * (last.round > 1)
    if result.pooled is not None and result.local_only is not None:
        alone = result.local_only["balanced_accuracy"]
        words += f"; pooled {result.pooled['balanced_accuracy']:.4f}, a device alone {alone:.4f}"
    say(f"{words}.")
    if (homes := result.homes) is not None:
        names = {"own": "its own model", "global": "the global one", "alone": "one trained alone"}
        found = [f"{name} {homes[key]:.4f}" for key, name in names.items() if homes[key] is not None]
        say(f"At home, on its own classes: {', '.join(found)}.")


@contextmanager
def _interruptible() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        say("Stopped. The same command goes on from here.")
        raise typer.Exit(1) from None
