"""Label flip: an honest training on wrong labels (Fung et al. 1808.04866; Tolpegin et al. 2007.08432).

    y' = K - 1 - y

Done twice it is undone; with an odd number of classes K the middle one stays.
"""

from __future__ import annotations

from fanlight.simulation.attacks.attack import Attack, AttackRecipe, Labels


def label_flip() -> Attack:
    """The attack; it has no parameters."""

    def relabel(labels: Labels, classes: int) -> Labels:
        return classes - 1 - labels

    return Attack(relabel=relabel)


RECIPE = AttackRecipe(
    name="label-flip",
    title="Label flip",
    summary="Learns from wrong labels: the first class is called the last, and so on.",
    paper="Tolpegin et al. 2020, 2007.08432",
    stopped_by="the middles help where devices have alike pictures; the clip does not see it",
    make=label_flip,
)
