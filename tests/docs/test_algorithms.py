"""``docs/algorithms.md`` lists every algorithm there is, with its paper, state and parameters, as the code has them."""

from __future__ import annotations

from collections.abc import Iterator

from fanlight.learning.algorithms.recipe import Parameter, Recipe
from fanlight.learning.algorithms.registry import RECIPES
from fanlight.learning.algorithms.robust import ROBUST
from tests.docs.current import check

HEAD = """\
# Algorithms

How updates become the next model is a line of the task, `algorithm` in `main/task.json`:

```json
"algorithm": {"name": "fedadam", "parameters": {"learning_rate": 0.03}}
```

It can be given to `fanlight federation init` and `fanlight demo` (`--algorithm fedadam:learning_rate=0.03`), and
changed on the main server's page Task or by `PUT /api/v1/algorithm`; it holds from the next round on. What is not given
has its default. The card of a version says by which algorithm it was made.

Each algorithm is one file in `src/fanlight/learning/algorithms/`, with its equations. What the server remembers belongs
to a version of the model: going back to a version restores it. What a device remembers stays on it, and advances only
when its report was in the sum of a released round; after going back it is what it was then. Another algorithm begins
anew, on devices and on the server, also one that comes back: a version's file tells the rounds that it comes of, and
what a device remembers of others does not count ([0019](adr/0019-algorithms.md)).
"""

OTHERWISE = """
That is a change to the first design, which has a task choose any of them
([0008](adr/0008-changes-to-the-design.md#two-algorithms-are-for-simulation-alone)). Instead of FedBN choose `fedavg`
and, with `fine_tune`, `batch_norm` = `local`, which is the same; instead of FedBuff `cohort_size` with
`over_selection_percent`, so that rounds do not wait for the slowest."""

OWN_TEXT = """\
## A home's own model

Under Ditto, FedPer, FedRep and [local batch normalisation](fine-tuning.md#batch-normalisation) a device answers with
the model that it last trained in a released round with its report in the sum. Of FedPer, FedRep and FedBN that is the
whole of it, with the shared tensors as the home had trained them then: that names .92 of a home's pictures rightly,
where the newest shared tensors with the home's own bias name .80 (FedPer, digits on ten devices, Dirichlet 0.1, ten
rounds, seed 0). Until there is one, the global model answers.

| what | which model |
|---|---|
| suggestions for pictures | the home's own model, with own names on top where it has some |
| own names | are learned on top of the home's own model |
| *Try it*, `POST /api/v1/learning/try` | side by side: the home's own model, the global one, the head with own names |
| `fanlight predict --state DEVICE` | the home's own model, with own names; says so. `--shared`: the global one |
| `fanlight export --state DEVICE` | the same without own names, as the card says. `--shared`: the global one |
| figures on *Learning* and in rounds | are of the global model, and of what was trained here last, counted or not |

The page *Learning* says which model answers, of which round and when (`answers` in `GET /api/v1/learning`). It is what
the algorithm remembers with the version that is here: never of a round that failed or left the report out; after going
back what it was then; and none where another algorithm is chosen, or the rounds began anew.

Under all other algorithms the global model answers. What was trained here last is only shown beside it.
"""

ROBUST_TEXT = """\
## Shards

With the rule `shards` = `always` the servers see one sum for each shard of a round
([0017](adr/0017-shards.md)), and `combine` says how they become one: {names}. All but the mean count shards the same,
whatever they say of their pictures, and stand some bad ones: of s shards both medians fewer than s/2, the trimmed mean
a quarter (of three one), Krum ⌊(s - 3)/2⌋, so it needs five for one. They take the place of the mean update; FedNova
takes the median of the shards' steps. SCAFFOLD and FedDyn go with the mean alone: devices advance what they remember
by their own change, and a middle of shards is not the mean of these, so the server's sum would be wrong for good. Of
twenty honest devices in five shards the model then ends far from the optimum, with any of the four.
A round with a single sum has nothing to combine, and of two shards all four give the mean. So a task with another
`combine` than `mean` must say `shards` = `always`, `most_shards` = 3 or more (Krum: 5), and a `cohort_size`, if there
is one, of as many times `k_min`; the policy cannot be changed to less as long as it does. `fanlight federation init`
takes both: `--algorithm fedavg:combine=krum --policy shards=always --policy most_shards=5`. A demo sets these rules
itself, asks for as many devices, and begins when all have joined. Where too few members are there for the shards when a
round opens, it has fewer, or a single sum: the card of a version says how many shards were combined, and nothing of it
where there was a single sum.

## What each does with its defaults

*Digits* on ten devices, ten rounds from zeros with all defaults above, by the algorithms themselves in memory: no
masks, no clipping (`make bench NAME=all_algorithms`; mean ± standard deviation of three draws of who has what).
*Global*: balanced accuracy of the global model. *At home*: how much of its own held-back pictures a device names
rightly, the mean over devices, with the global model and with its own, where the algorithm gives it one.

| | Dirichlet 0.1: global | at home, global | at home, own | one class a device: global | at home, own |
|---|---|---|---|---|---|
| FedAvg | .804 ± .036 | .796 ± .060 | – | .771 ± .012 | – |
| FedAvgM | .696 ± .044 | .684 ± .063 | – | .704 ± .016 | – |
| FedProx | .806 ± .036 | .799 ± .060 | – | .771 ± .011 | – |
| FedAdam | .858 ± .013 | .852 ± .015 | – | .870 ± .014 | – |
| FedYogi | .860 ± .012 | .854 ± .013 | – | .870 ± .015 | – |
| FedAdagrad | .823 ± .024 | .818 ± .043 | – | .846 ± .005 | – |
| SCAFFOLD | .820 ± .048 | .827 ± .035 | – | .817 ± .004 | – |
| FedNova | .839 ± .013 | .844 ± .009 | – | .771 ± .012 | – |
| FedDyn | .869 ± .008 | .858 ± .009 | – | .840 ± .009 | – |
| Ditto | .804 ± .036 | .796 ± .060 | .925 ± .002 | .771 ± .012 | 1.000 ± .000 |
| FedPer | .804 ± .035 | .797 ± .059 | .922 ± .011 | .772 ± .012 | 1.000 ± .000 |
| FedRep | .801 ± .031 | .797 ± .057 | .927 ± .005 | .745 ± .011 | 1.000 ± .000 |

Ten rounds show speed as much as where it ends: [fifty](results.md#who-has-what-and-what-it-does) bring FedAvg to .86
and .88. FedAvgM's default is slow here: of n rounds with equal updates η = 1 - β lets the last go 1 - βⁿ as far as
FedAvg's, so ten with β = 0.9 come about as far as four of FedAvg's, and only in the long run both have one pace. With
one class a home's own model only has to call everything that, and does. FedPer and FedRep keep the bias at home, all
that there is to keep of a head; it is how often a home sees what.

SCAFFOLD's and FedNova's devices train to the end, where those of the others go back to the pass that was the best on
their validation pictures. For SCAFFOLD that would take back what its control variates had steered: .807 ± .064 and
.748 ± .010. For FedNova it is worse, .600 ± .083 (Dirichlet 0.1): a home that goes back to its first pass says 11 steps
where its like take 55, and for that its update is stretched. In the first round of seed 0 that home weighed .82 instead
of the .12 of FedAvg, and all ten together 2.6 instead of 1. FedAvg to the end has .821 ± .024; where all take 40 steps,
both have the same .815 ± .011.

## Defaults of the adaptive algorithms

Balanced accuracy after ten rounds of the default task on two devices, with other server learning rates η and
adaptivities τ, on the test pictures: the defaults were chosen by these. Of *digits* one device has 0 to 4, the other 5
to 9; *faces*, dealt out alike, are all right but for one of 40 test pictures everywhere.

```sh
make bench NAME=algorithms ARGS="--seed 0 --learning-rate 0.003 --learning-rate 0.01 --learning-rate 0.03"
make bench NAME=algorithms ARGS="--seed 1 --learning-rate 0.01 --learning-rate 0.03 --learning-rate 0.1"
```

| digits, seed 0 / 1 | τ = 0.0001 | τ = 0.001 | τ = 0.01 |
|---|---|---|---|
| FedAdam, η = 0.003 | .882 / – | .861 / – | .849 / – |
| FedAdam, η = 0.01 | **.900 / .906** | .881 / .894 | .856 / .853 |
| FedAdam, η = 0.03 | .902 / .912 | .901 / .899 | .874 / .872 |
| FedAdam, η = 0.1 | – / .848 | – / .891 | – / .890 |
| FedYogi, η = 0.003 | .882 / – | .860 / – | .849 / – |
| FedYogi, η = 0.01 | **.903 / .906** | .881 / .894 | .856 / .853 |
| FedYogi, η = 0.03 | .902 / .909 | .902 / .900 | .872 / .872 |
| FedYogi, η = 0.1 | – / .849 | – / .890 | – / .891 |
| FedAdagrad, η = 0.003 | .837 / – | .831 / – | .844 / – |
| FedAdagrad, η = 0.01 | **.893 / .890** | .893 / .887 | .867 / .865 |
| FedAdagrad, η = 0.03 | .878 / .915 | .852 / .908 | .895 / .900 |
| FedAdagrad, η = 0.1 | – / .822 | – / .795 | – / .814 |

FedAvg: .891 / .899. The defaults are η = 0.01 and τ = 0.0001 (bold): at or near the best of each row and column, and
three times further from the η that is too much than the few that are better in one of both draws.

## What to expect

- **Clipping.** Updates are clipped as ever, and the clip follows what devices send. Where it cuts, FedDyn's device
  remembers what was sent, as the server does: so both go on to the common optimum, only later.
- **SCAFFOLD and FedNova** send more than an update: the change of the control variate, as long as the update, and a
  number of steps. A cheat can stretch the mean update with its steps up to 100 times.
- **Cheats.** The clip bounds the mean update of a round; what an algorithm makes of it differs
  ([bounds](threat-model.md#what-one-cheat-can-move)): FedNova 100 times as much, FedDyn more in every round.
- **SCAFFOLD** minimises the plain mean of the devices' objectives; the others weigh devices by their pictures.
- **FedPer, FedRep and Ditto** give each home a model of its own; so does local batch normalisation. It
  [answers at home](#a-homes-own-model); the global model is measured too.
  Where the backbone stands still, the model is a head of two tensors, so FedPer and FedRep keep its bias at home and
  nothing else: how often a home sees what. For the personal layers of the papers a part of the backbone must learn, or
  a module of one's own in a simulation. As many tensors as the model has, or more, are refused: nothing is shared. So
  is the whole head (`personal` of 2 or more) while the global one is still zero, as it would stay: keep the bias at
  home (1), choose `ditto`, or let a round of `fedavg` teach the head first.
- **FedBN** in a simulation of one's own module keeps the tensors of all PyTorch batch normalisation at home, whatever
  they are called; layer and group normalisation keep no statistics of pictures, and are shared. A model that has none,
  such as every head, is refused. The global model's own never moves, so its figures say less than those of homes.
- **FedBuff** is for simulations, where devices that take longer go on while the server makes versions
  ([simulation.md](simulation.md#studies)). `cohort` is the size of its buffer, and `concurrency` how many are
  at work at once. In the sum updates weigh by pictures, as under all algorithms here.
- **Where a part of the backbone learns** ([fine-tuning.md](fine-tuning.md)) each of them works on its tensors as on the
  head's. With `batch_norm` = `local` devices keep their normalisation at home, which is FedBN; that goes with
  algorithms of the server alone: FedAvg, FedAvgM, FedAdam, FedYogi and FedAdagrad.
- **Devices that join** begin with nothing remembered. SCAFFOLD and FedDyn keep the sum of what devices remember, and
  divide it by what the federation is at the time, so they still end at the common optimum. What a device that has left
  had added stays in the sum; under FedDyn also the change, where a device's number of pictures changes.
- **Held-back classes** (`min_class_supporters`) keep their rows under every algorithm, while the others move only
  against each other, so that they do not tell it ([0031](adr/0031-held-back-rows.md)): with two classes, not at all.
  They leave no trace in what the server remembers, but under SCAFFOLD and FedDyn: a device that has such a class
  remembers its own part of it, so the server's sum does too, unpublished. It shows once the class has enough supporters
  again, in one sum with theirs.
"""


def table() -> Iterator[str]:
    yield "| name | algorithm | paper | a device remembers | the server remembers | with the secure sum |"
    yield "|---|---|---|---|---|---|"
    for recipe in RECIPES.values():
        title = f"{recipe.title}: {recipe.summary}"
        kept = (recipe.on_device or "nothing", recipe.on_server or "nothing")
        yield f"| `{recipe.name}` | {title} | {_paper(recipe)} | {kept[0]} | {kept[1]} | {recipe.composes} |"


def _paper(recipe: Recipe) -> str:
    said, _, number = recipe.paper.rpartition(", ")
    return f"{said}, [{number}](https://arxiv.org/abs/{number})"


def parameters() -> Iterator[str]:
    yield "| algorithm | parameter | default | allowed | meaning |"
    yield "|---|---|---|---|---|"
    for recipe in RECIPES.values():
        for each in recipe.parameters:
            yield f"| `{recipe.name}` | `{each.name}` | {each.default:g} | {_range(each)} | {each.meaning} |"


def _range(parameter: Parameter) -> str:
    return f"{parameter.low:g} to {parameter.high:g}{', whole' if parameter.whole else ''}"


def others() -> Iterator[str]:
    yield "These cannot be chosen for a task, and are there for simulation:\n"
    for recipe in RECIPES.values():
        if recipe.why_not:
            yield f"- **{recipe.title}**: {recipe.why_not}."
    yield OTHERWISE


def test_every_algorithm_is_listed_as_it_is() -> None:
    names = ", ".join(f"`{name}`" for name in ("mean", *ROBUST))
    tables = ("\n".join(part()) + "\n" for part in (table, others))
    known = ["## Parameters\n", "\n".join(parameters()) + "\n"]
    text = [HEAD, *tables, *known, OWN_TEXT, ROBUST_TEXT.format(names=names)]
    check("algorithms.md", "\n".join(text))
