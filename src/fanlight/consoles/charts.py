"""What the charts show, as ``static/charts.js`` reads it; templates use these as filters.

A chart is ``{"x": [...], "x_label": str, "series": [{"label": str, "scale": "share" | "loss", "values": [...]}]}``;
``share`` is a fraction in [0, 1], ``loss`` is in nats a picture, and None leaves a gap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

Chart = dict[str, Any]
Source = tuple[str, str, str]
"""Key of a figure, label, scale."""

_VERSIONS: Final[tuple[Source, ...]] = (
    ("accuracy", "Accuracy", "share"),
    ("loss", "Loss", "loss"),
    ("balanced_accuracy", "Balanced accuracy", "share"),
)
_ROUNDS: Final[tuple[Source, ...]] = (
    ("received_accuracy", "Model of all devices, at the start", "share"),
    ("local_accuracy", "Own model, after training", "share"),
)
_EPOCHS: Final[tuple[Source, ...]] = (
    ("train_accuracy", "Accuracy, training", "share"),
    ("valid_accuracy", "Accuracy, held out", "share"),
    ("train_loss", "Loss, training", "loss"),
    ("valid_loss", "Loss, held out", "loss"),
)


def versions_chart(models: Sequence[Mapping[str, Any]]) -> Chart | None:
    """Accuracy and loss of every version that was measured; None below two, which make no line."""
    measured = sorted((model for model in models if model["metrics"]), key=lambda model: int(model["version"]))
    if len(measured) < 2:
        return None
    figures = [model["metrics"] for model in measured]
    return _chart("Version of the model", [model["version"] for model in measured], figures, _VERSIONS)


def rounds_chart(lines: Sequence[Mapping[str, Any]]) -> Chart | None:
    """What the global model and the device's own one were worth, round by round; None below two measured rounds."""
    measured = [line for line in lines if any(line[key] is not None for key, _label, _scale in _ROUNDS)]
    if len(measured) < 2:
        return None
    return _chart("Round", [line["round"] for line in measured], measured, _ROUNDS)


def epochs_chart(points: Sequence[Mapping[str, Any]]) -> Chart | None:
    """Accuracy and loss of every epoch of a training; None before the first has ended."""
    figures = [point for point in points if "epoch" in point]
    return (
        _chart("Pass over the pictures", [point["epoch"] for point in figures], figures, _EPOCHS) if figures else None
    )


def _chart(x_label: str, x: list[int], figures: Sequence[Mapping[str, Any]], sources: Sequence[Source]) -> Chart:
    columns = [(label, scale, [line.get(key) for line in figures]) for key, label, scale in sources]
    return {
        "x": x,
        "x_label": x_label,
        "series": [
            {"label": label, "scale": scale, "values": values}
            for label, scale, values in columns
            if any(value is not None for value in values)
        ],
    }


CHARTS: Final[Mapping[str, Callable[..., Any]]] = {
    function.__name__: function for function in (versions_chart, rounds_chart, epochs_chart)
}
