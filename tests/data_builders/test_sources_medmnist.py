from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data_builders.sources.medmnist import build_medmnist
from data_builders.sources.medmnist_flags import FLAGS, MULTI_LABEL
from data_builders.sources.npz_rows import NpzFile
from vlmalign.records import Case, DataError, RecordFolder, read_records
from vlmalign.records.validation import validate_folder


def write_npz(
    path: Path, n_labels: int = 1, shape: tuple[int, ...] = (28, 28), top: int = 1
) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = {}
    for part, number in (("train", 3), ("val", 1), ("test", 2)):
        arrays[f"{part}_images"] = rng.integers(0, 256, (number, *shape), dtype=np.uint8)
        arrays[f"{part}_labels"] = rng.integers(0, top + 1, (number, n_labels), dtype=np.uint8)
    np.savez_compressed(path, **arrays)
    return arrays


def test_there_are_eighteen_official_sets() -> None:
    assert len(FLAGS) == 18 and sum(name.endswith("3d") for name in FLAGS) == 6
    assert len(FLAGS["chestmnist"].labels) == 14 and len(FLAGS["organamnist"].labels) == 11


@pytest.mark.parametrize("flag", FLAGS)
def test_every_official_set_is_read_by_its_name(tmp_path: Path, flag: str) -> None:
    several = FLAGS[flag].task == MULTI_LABEL
    shape = (9, 9, 9) if flag.endswith("3d") else (28, 28, 3)
    write_npz(tmp_path / f"{flag}.npz", 14 if several else 1, shape)
    cases = read_records(build_medmnist(tmp_path / f"{flag}.npz", tmp_path / "out"), Case)
    assert [case.split for case in cases] == ["train"] * 3 + ["validation"] + ["test"] * 2
    assert {case.group_kind for case in cases} == {"image"} and len({case.group_id for case in cases}) == 6
    assert {len(case.images) for case in cases} == ({3} if flag.endswith("3d") else {1})


def test_pixels_and_labels_are_those_of_the_row(tmp_path: Path) -> None:
    arrays = write_npz(tmp_path / "pneumoniamnist.npz")
    folder = RecordFolder(build_medmnist(tmp_path / "pneumoniamnist.npz", tmp_path / "out"), Case)
    cases = list(folder)
    for k, part in ((0, "train"), (4, "test")):
        assert np.array_equal(np.asarray(folder.image(cases[k].images[0])), arrays[f"{part}_images"][0])
        found = {f.concept: f.status for f in cases[k].reference.findings}
        assert (found["pneumonia"] == "present") == bool(arrays[f"{part}_labels"][0, 0])
    assert cases[0].attributes.age_band == "child" and validate_folder(folder.path) == []


def test_a_volume_is_shown_by_evenly_spaced_slices(tmp_path: Path) -> None:
    arrays = write_npz(tmp_path / "nodulemnist3d.npz", shape=(9, 5, 5))
    folder = RecordFolder(build_medmnist(tmp_path / "nodulemnist3d.npz", tmp_path / "out"), Case)
    first = next(iter(folder))
    assert [image.frame for image in first.images] == [1, 4, 7]
    assert np.array_equal(np.asarray(folder.image(first.images[1])), arrays["train_images"][0, 4])


def test_objects_are_refused_before_anything_is_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "breastmnist.npz", train_images=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="holds objects, which only pickle"):
        build_medmnist(tmp_path / "breastmnist.npz", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "labels", "top", "rule"),
    [
        ("mymnist.npz", 1, 1, "is not one of MedMNIST's files"),
        ("chestmnist.npz", 1, 1, r"\(N, 14\) are required"),
        ("breastmnist.npz", 1, 200, r"is not within 0 to 1"),
    ],
)
def test_what_is_not_an_official_file_is_refused(
    tmp_path: Path, name: str, labels: int, top: int, rule: str
) -> None:
    write_npz(tmp_path / name, labels, top=top)
    with pytest.raises(DataError, match=rule):
        build_medmnist(tmp_path / name, tmp_path / "out")


def test_a_cut_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "breastmnist.npz"
    write_npz(path)
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(DataError, match="not an npz file"):
        build_medmnist(path, tmp_path / "out")


def test_rows_of_wide_numbers_are_read_like_numpy_reads_them(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.int64).reshape(4, 3, 2)
    np.savez(tmp_path / "a.npz", a=values)
    assert np.array_equal(np.stack(list(NpzFile(tmp_path / "a.npz").rows("a"))), values)
