from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fanlight.errors import DataError, SettingsError, StorageError
from fanlight.learning.datasets.chance import Chance
from fanlight.simulation import Data, Study
from fanlight.simulation.feature_skew import FeatureSkew
from fanlight.simulation.partitions import check, feature_skews, partition
from fanlight.simulation.population import divide
from fanlight.simulation.who_has_what import as_svg, counts_of, describe, in_words

LABELS = np.repeat(np.arange(10), 100)


def dealt(spec: str, devices: int = 10, seed: int = 0, **columns: list[str]) -> list[np.ndarray]:
    return partition(spec, LABELS, devices, Chance("test", seed), columns)


def distance(spec: str, devices: int = 20) -> float:
    told = describe(counts_of(LABELS, dealt(spec, devices), 10), [str(each) for each in range(10)], spec)
    return float(told["distance"])


def test_iid_is_even_and_drawn_by_lot() -> None:
    assert {part.size for part in dealt("iid", 7)} == {142, 143}
    assert not np.array_equal(dealt("iid")[0], dealt("iid", seed=1)[0])


def test_the_smaller_the_concentration_the_more_unlike_the_devices() -> None:
    distances = [distance(spec) for spec in ("dirichlet:1000", "dirichlet:5", "dirichlet:0.5", "dirichlet:0.05")]
    assert distances == sorted(distances)
    assert distances[0] < 0.05
    assert distance("iid") < 0.2
    assert distance("classes:1") == 0.9


def test_dirichlet_starves_nobody() -> None:
    assert min(part.size for part in dealt("dirichlet:0.05", 20)) >= 10
    assert {part.size for part in dealt("dirichlet:0.05", 1000)} == {1}


def test_quantity_by_power_falls_with_the_rank() -> None:
    sizes = [part.size for part in dealt("quantity:power=1", 4)]
    assert sizes == pytest.approx([480, 240, 160, 120], abs=3)
    assert [part.size for part in dealt("quantity:power=0", 4)] == [250] * 4


def test_quantity_by_dirichlet_mixes_classes() -> None:
    parts = dealt("quantity:dirichlet=0.5", 5)
    sizes = [part.size for part in parts]
    assert max(sizes) > 2 * min(sizes)
    assert np.unique(LABELS[max(parts, key=len)]).size == 10


def test_a_key_keeps_together_what_belongs_together() -> None:
    writers = [f"writer {index % 3}" for index in range(1000)]
    assert [part[:2].tolist() for part in dealt("key:writer", 3, writer=writers)] == [[0, 3], [1, 4], [2, 5]]
    two = dealt("key:writer", 2, writer=writers)
    assert sorted(part.size for part in two) in ([333, 667], [334, 666])


@pytest.mark.parametrize("name", ["who.json", "who.csv"])
def test_a_file_says_who_has_what(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    if name.endswith("json"):
        file.write_text(json.dumps([list(range(0, 1000, 2)), list(range(1, 1000, 2))]))
    else:
        file.write_text("index,device\n" + "\n".join(f"{index},{index % 2}" for index in range(1000)))
    assert [part[:2].tolist() for part in dealt(f"file:{file}", 2)] == [[0, 2], [1, 3]]


def test_a_path_may_hold_every_sign(tmp_path: Path) -> None:
    folder = tmp_path / "a+b:c,d=e"
    folder.mkdir()
    (folder / "who.json").write_text(json.dumps([list(range(1000))]))
    assert len(dealt(f"rotation:3+file:{folder / 'who.json'}", 1)) == 1


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        ("[[0, 1], [1, 2]]", "picture 1 is on 2 devices"),
        ("[[0, 1], [2, 1000]]", "index 1000 is none of the 1000"),
        ("[[0], []]", "device 1 is empty"),
        ("[[0]]", "lists for 1 devices, not 2"),
        ("[[0], [1]]", "picture 2 is on 0 devices"),
        ("[[0], [-1]]", "entry 1 is not a list of indices"),
        ("[[0], [true]]", "entry 1 is not"),
        ("{}", "not a list"),
        ("[" * 100_000, "not JSON"),
        ("\xff\xfe", "picture|UTF-8|JSON"),
    ],
)
def test_a_file_that_cannot_be(tmp_path: Path, text: str, flaw: str) -> None:
    file = tmp_path / "who.json"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match=flaw) as caught:
        dealt(f"file:{file}", 2)
    assert caught.value.next


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        ("a,b\n0,0", "line 1"),
        ("index,device\n0,0\n1,x", "line 3: not two"),
        ("index,device\n0,0,0", "line 2: not two"),
        ("index,device\n", "0 devices"),
        ("index,device\n0,99999999999", "99,?999,?999,?999|100000000000"),
    ],
)
def test_a_table_that_cannot_be(tmp_path: Path, text: str, flaw: str) -> None:
    file = tmp_path / "who.csv"
    file.write_text(text)
    with pytest.raises(DataError, match=flaw):
        dealt(f"file:{file}", 2)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"who\.json"):
        dealt(f"file:{tmp_path / 'who.json'}")
    with pytest.raises(DataError, match="such a file"):
        dealt("file:who.pickle")


@pytest.mark.parametrize(
    ("spec", "flaw", "next_"),
    [
        ("", "there is no ''", "Choose one of iid, dirichlet"),
        ("zipf:2", "there is no 'zipf'", "Choose one of iid"),
        ("dirichlet", "NUMBER of at least|NUMBER from 0.001", "dirichlet:0.5"),
        ("dirichlet:0", "NUMBER from 0.001", "dirichlet:0.5"),
        ("dirichlet:nan", "not 'nan'", "dirichlet:0.5"),
        ("dirichlet:0.5,alpha=1", "does not know 'alpha'", "dirichlet:0.5"),
        ("classes:1.5", "whole number", "classes:2"),
        ("iid:3", "takes no '3'", "iid"),
        ("quantity", "either power or dirichlet", "quantity:power=1"),
        ("quantity:power=1,dirichlet=1", "either power or dirichlet", "quantity:power=1"),
        ("key", "name of a column", "key:folder"),
        ("key:colour", "no column 'colour'", "writer"),
        ("file", "path of a file", "file:"),
        ("iid+classes:1", "both say who has what", "Keep one"),
        ("iid+", "nothing follows the last", "join several"),
        ("iid+iid", "there twice", "join several"),
        ("rotation:200", "from 0 to 180", "rotation:30"),
        ("rotation:1,2", "two values", "NAME=VALUE"),
        ("quantity:power=1,power=2", "'power' twice", "once"),
        ("x" * 5000, "too long", "4,096"),
    ],
)
def test_a_line_that_cannot_be_read_says_why(spec: str, flaw: str, next_: str) -> None:
    with pytest.raises(SettingsError, match=flaw) as caught:
        dealt(spec, writer=["a"] * 1000)
    assert caught.value.message.startswith("partition: ")
    assert next_ in caught.value.next
    if spec != "key:colour":
        with pytest.raises(SettingsError, match=flaw):
            check(spec)


def test_classes_that_find_no_place() -> None:
    with pytest.raises(DataError, match="10 classes cannot be dealt out to 3 devices with 2 each"):
        dealt("classes:2", 3)
    with pytest.raises(DataError, match="10 classes cannot"):
        dealt("classes:11")


def test_cameras_differ_from_device_to_device_and_stay_the_same() -> None:
    spec = "dirichlet:0.5+brightness:0.5+rotation:30"
    cameras = feature_skews(spec, 200, Chance("test", 3))
    assert cameras == feature_skews(spec, 200, Chance("test", 3))
    assert cameras is not None
    assert {camera.blur for camera in cameras} == {0.0}
    factors, degrees = [each.brightness for each in cameras], [each.rotation for each in cameras]
    assert 0.5 <= min(factors) < 0.6
    assert 1.4 < max(factors) <= 1.5
    assert -30 <= min(degrees) < -25
    assert 25 < max(degrees) <= 30
    assert feature_skews("iid", 200, Chance("test", 3)) is None


def test_what_a_camera_does_to_a_picture() -> None:
    picture = np.full((20, 20), 100, np.uint8)
    picture[4:8, 9:11] = 250
    assert np.array_equal(FeatureSkew().applied(picture), picture)
    assert FeatureSkew(brightness=1.5).applied(picture)[0, 0] == 150
    assert FeatureSkew(brightness=1.5).applied(picture)[5, 9] == 255, "too bright is white, not dark again"
    assert FeatureSkew(blur=2.0).applied(picture).max() < 250
    turned = FeatureSkew(rotation=90.0).applied(picture)
    assert turned[9, 5] > 200, "counter-clockwise: what was at the top is at the left"
    assert turned[0, 0] == 100, "what turns into the picture is of the border's colour"
    colours = np.stack([picture, picture // 2, picture // 4], axis=-1)
    assert FeatureSkew(1.2, 1.0, 10.0).applied(colours).shape == (20, 20, 3)


def test_a_camera_takes_pictures_only() -> None:
    with pytest.raises(DataError, match="not a picture"):
        FeatureSkew().applied(np.zeros((2, 2)))  # type: ignore[arg-type]


def test_who_has_what_in_numbers_and_as_a_picture() -> None:
    names = ["<zero>", *map(str, range(1, 10))]
    told = describe(counts_of(LABELS, dealt("classes:2", 50), 10), names, "classes:2")
    assert told["pictures"] == {"least": 20, "median": 20.0, "most": 20}
    assert told["classes_per_device"] == {"least": 2, "median": 2.0, "most": 2}
    assert told["distance"] == pytest.approx(0.8)
    assert json.loads(json.dumps(told)) == told
    drawn = as_svg(told)
    assert drawn.count("<circle") == 2 * 40
    assert "&lt;zero&gt;" in drawn
    assert "<zero>" not in drawn
    assert "first 40 of 50" in in_words(told)


def test_a_file_counts_in_the_whole_data_set_whatever_is_held_back(tmp_path: Path) -> None:
    """Device k gets the examples that the file names, and knows them by the number that is written into each."""
    count, path = 60, tmp_path / "who.csv"
    x = np.arange(count, dtype=np.float32)[:, None] * np.ones(3, np.float32)
    data = Data.of(x, np.arange(count) % 3)
    path.write_text("index,device\n" + "".join(f"{index},{index // 20}\n" for index in range(count)))
    for seed in (0, 1):
        study = Study.of({"partition": f"file:{path}", "devices": 3, "seed": seed})
        population = divide(study, data)
        seen = [
            {int(value) for part in (population.train(k), population.valid(k)) for value in part.x[:, 0]}
            for k in range(3)
        ]
        assert all(index // 20 == k for k in range(3) for index in seen[k])
        held_back = {int(value) for value in population.test.x[:, 0]}
        assert len(held_back) == 12
        assert set.union(held_back, *seen) == set(range(count))
    path.write_text("index,device\n" + "".join(f"{index},{min(index, 1)}\n" for index in range(count)))
    bare = next(
        study
        for seed in range(100)
        if 0 in divide((study := Study.of({"partition": "iid", "devices": 2, "seed": seed})), data).test.x[:, 0]
    )
    with pytest.raises(DataError, match="all that the file gives device 0 is held back"):
        divide(bare.model_copy(update={"partition": f"file:{path}"}), data)
