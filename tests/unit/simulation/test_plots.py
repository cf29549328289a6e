"""Charts are SVG that any reader of XML takes."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from fanlight.simulation.plots import Curve, Panel, chart, sheet


def drawn(*curves: Curve, levels: tuple[tuple[str, float], ...] = ()) -> ET.Element:
    return ET.fromstring(chart("a & b", "round", curves, levels))  # noqa: S314 our own


def test_a_curve_has_a_line_a_key_and_words() -> None:
    figure = drawn(Curve("<b>", [1, 2, 3], [0.1, 0.4, 0.2]), levels=(("pooled", 0.9),))
    assert len(figure.findall(".//polyline")) == 1
    assert figure.findall(".//li")[0].text is None  # the line; the label follows it
    assert "<b>" in "".join(figure.itertext())
    assert "from 0.1 to 0.2" in "".join(figure.itertext())


def test_bands_lie_around_curves() -> None:
    figure = drawn(Curve("a", [1, 2], [0.2, 0.3], [0.1, 0.2], [0.3, 0.4]))
    (polygon,) = figure.findall(".//polygon")
    assert len(polygon.attrib["points"].split()) == 4


def test_one_point_is_a_dot_and_none_is_nothing() -> None:
    assert drawn(Curve("a", [1], [0.5])).findall(".//circle")
    assert chart("t", "x", [Curve("a", [], [])]) == ""


@pytest.mark.parametrize("y", [[0.0, 0.0], [5.0, 5.0], [-1.0, 1e9], [1e-9, 2e-9], [-3.0, -3.0]])
def test_all_points_lie_inside(y: list[float]) -> None:
    figure = drawn(Curve("a", [0, 1], y))
    width, height = map(float, figure.find("svg").attrib["viewBox"].split()[2:])  # type: ignore[union-attr]
    points = figure.find(".//polyline").attrib["points"].split()  # type: ignore[union-attr]
    for point in points:
        x, level = map(float, point.split(","))
        assert 0 <= x <= width
        assert 0 <= level <= height


def test_long_curves_are_thinned_and_keep_their_end() -> None:
    figure = drawn(Curve("a", list(range(100_000)), [0.0] * 99_999 + [1.0]))
    points = figure.find(".//polyline").attrib["points"].split()  # type: ignore[union-attr]
    assert len(points) < 500
    assert points[-1].split(",")[1] != points[0].split(",")[1]


def test_a_sheet_has_every_panel_inside_its_edges_and_one_key() -> None:
    curves = [Curve("one & two", [1, 2, 3], [0.1, 0.4, 0.2]), Curve("three", [1, 2, 3], [0.3, 0.3, 0.3])]
    panels = [Panel(f"<{number}>", "round", curves, [("pooled", 0.5)]) for number in range(3)]
    root = ET.fromstring(sheet("all", panels))  # noqa: S314 our own
    name = "{http://www.w3.org/2000/svg}"
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    groups = root.findall(f"{name}g")
    assert ["".join(group.itertext()).count(f"<{number}>") for number, group in enumerate(groups)] == [1, 1, 1]
    places = [tuple(map(float, group.attrib["transform"][10:-1].split())) for group in groups]
    assert len(set(places)) == 3
    assert all(x < width and y < height for x, y in places)
    assert len(root.findall(f".//{name}polyline")) == 6
    assert [each.text for each in root.findall(f"{name}text")] == ["one & two", "three"]
    assert len(root.findall(f"{name}line")) == 2


def test_a_sheet_has_one_vertical_scale() -> None:
    low, high = (Panel("", "x", [Curve("a", [0, 1], y)]) for y in ([0.5, 0.5], [0.0, 1.0]))
    root = ET.fromstring(sheet("all", [low, high]))  # noqa: S314 our own
    first, second = (
        [float(point.split(",")[1]) for point in line.attrib["points"].split()]
        for line in root.findall(".//{*}polyline")
    )
    assert first == pytest.approx([sum(second) / 2] * 2, abs=0.1)
