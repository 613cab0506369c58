from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from data_builders.sources import build_smear
from data_builders.split import divide_groups, split_by_group
from vlmalign.records import (
    Case,
    DataError,
    DatasetBuild,
    Finding,
    RecordFolder,
    Reference,
    Region,
    read_manifest,
    read_records,
    user,
)
from vlmalign.records.leakage import check_no_leakage
from vlmalign.records.validation import validate_folder

ROLES = {"expert": 0.32, "labelled": 0.12, "unlabelled": 0.36, "test": 0.20}


@pytest.fixture(scope="module")
def smear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_smear(tmp_path_factory.mktemp("source") / "smear", n_groups=25, fields_per_group=2)


@pytest.fixture(scope="module")
def parts(smear: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return split_by_group(smear, tmp_path_factory.mktemp("split"), roles=ROLES, seed=0)


def photographs(folder: Path, numbers: list[int], edit: Callable[[int], dict[str, object]] | None = None) -> Path:
    """One case per photograph number, groups of ten numbers."""
    with DatasetBuild(folder, "case", {"numbers": numbers}) as build:
        for number in numbers:
            image = build.add_image(Image.new("L", (4, 4), number % 256))
            values: dict[str, object] = {
                "id": f"p{number}",
                "images": (image,),
                "messages": (user("Describe.", images=1),),
                "domain": "peripheral_smear",
                "group_id": f"g{number // 10}",
                "group_kind": "photograph_block",
                "extra": {"photograph_number": number},
                **(edit(number) if edit else {}),
            }
            build.commit(str(number), [Case(**values)])  # type: ignore[arg-type]
    return folder


def test_sizes_follow_the_largest_remainders() -> None:
    sizes = {role: len(groups) for role, groups in divide_groups([str(i) for i in range(33)], ROLES, 0).items()}
    # quotas 10.56, 3.96, 11.88, 6.60: floors 10, 3, 11, 6, three left for labelled, unlabelled and test
    assert sizes == {"expert": 10, "labelled": 4, "unlabelled": 12, "test": 7}


def test_every_group_goes_to_exactly_one_role(smear: Path, parts: dict[str, Path]) -> None:
    groups = {role: {case.group_id for case in read_records(path, Case)} for role, path in parts.items()}
    assert sum(map(len, groups.values())) == len(set().union(*groups.values())) == 25
    ids = [case.id for path in parts.values() for case in read_records(path, Case)]
    assert sorted(ids) == sorted(case.id for case in read_records(smear, Case))
    train = [path for role, path in parts.items() if role != "test"]
    check_no_leakage(train, [parts["test"]])


def test_role_folders_are_sound_and_keep_the_order_of_the_source(smear: Path, parts: dict[str, Path]) -> None:
    order = [case.id for case in read_records(smear, Case)]
    for path in parts.values():
        assert validate_folder(path) == []
        ids = [case.id for case in read_records(path, Case)]
        assert ids == sorted(ids, key=order.index)


def test_unlabelled_cases_know_nothing(parts: dict[str, Path]) -> None:
    folder = RecordFolder(parts["unlabelled"], Case)
    cases = list(folder)
    assert all(case.reference is None and case.split == "train" for case in cases)
    assert folder.manifest.counts["images"] == len(cases)  # no mask files either


def test_expert_cases_know_measurements_with_masks_and_nothing_else(parts: dict[str, Path]) -> None:
    folder = RecordFolder(parts["expert"], Case)
    for case in folder:
        assert case.reference is not None and case.split == "train"
        concepts = {finding.concept for finding in case.reference.findings}
        assert concepts == {"red_cell_count", "leukocyte_count", "platelet_count", "red_cell_cover"}
        for finding in case.reference.findings:
            assert finding.region is not None and finding.region.mask is not None
            assert (folder.path / finding.region.mask).is_file()


@pytest.mark.parametrize(("role", "split"), [("labelled", "train"), ("test", "test")])
def test_labelled_and_test_cases_know_every_answer_but_no_region(
    parts: dict[str, Path], role: str, split: str
) -> None:
    folder = RecordFolder(parts[role], Case)
    cases = list(folder)
    for case in cases:
        assert case.reference is not None and case.split == split
        assert {"focus", "stain", "red_cell_cover"} <= {finding.concept for finding in case.reference.findings}
        assert all(finding.region is None for finding in case.reference.findings)
    assert folder.manifest.counts["images"] == len(cases)


def test_foreign_fields_that_could_tell_the_answer_are_dropped(tmp_path: Path) -> None:
    def edit(number: int) -> dict[str, object]:
        return {"extra": {"photograph_number": number, "annotation": {"cut": {"leukocyte": 1}}}}

    source = photographs(tmp_path / "source", list(range(40)), edit)
    folders = split_by_group(source, tmp_path / "out", roles={"unlabelled": 0.5, "labelled": 0.5}, seed=0)
    assert all(set(case.extra) == {"photograph_number"} for case in read_records(folders["unlabelled"], Case))
    assert all("annotation" in case.extra for case in read_records(folders["labelled"], Case))


def test_the_seed_decides_and_nothing_else(smear: Path, tmp_path: Path, parts: dict[str, Path]) -> None:
    again = split_by_group(smear, tmp_path / "again", roles=ROLES, seed=0)
    other = split_by_group(smear, tmp_path / "other", roles=ROLES, seed=1)
    for role in ROLES:
        for name in ("records.jsonl", "manifest.json"):
            assert (again[role] / name).read_bytes() == (parts[role] / name).read_bytes()
    assert (other["test"] / "records.jsonl").read_bytes() != (parts["test"] / "records.jsonl").read_bytes()


def test_a_gap_drops_both_sides_of_a_border_between_roles_and_counts_them(tmp_path: Path) -> None:
    source = photographs(tmp_path / "source", list(range(20)))  # groups g0 (0-9) and g1 (10-19)
    folders = split_by_group(source, tmp_path / "out", roles={"train": 0.5, "test": 0.5}, seed=0, gap=2)
    numbers = {case.extra["photograph_number"] for path in folders.values() for case in read_records(path, Case)}
    assert set(range(20)) - numbers == {8, 9, 10, 11}
    assert [read_manifest(path).counts["dropped_gap"] for path in folders.values()] == [2, 2]


def test_a_gap_drops_nothing_between_groups_of_one_role(tmp_path: Path) -> None:
    source = photographs(tmp_path / "source", list(range(20)))
    (folder,) = split_by_group(source, tmp_path / "out", roles={"train": 1.0}, seed=0, gap=3).values()
    assert len(read_records(folder, Case)) == 20


def test_a_gap_needs_photograph_numbers(smear: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"extra.photograph_number.*gap of 1 needs.*Use gap 0"):
        split_by_group(smear, tmp_path, roles=ROLES, seed=0, gap=1)


def test_a_gap_that_leaves_a_role_empty_is_refused(tmp_path: Path) -> None:
    source = photographs(tmp_path / "source", list(range(20)))
    with pytest.raises(DataError, match="no field is left to role 'train'"):
        split_by_group(source, tmp_path / "out", roles={"train": 0.5, "test": 0.5}, seed=0, gap=10)
    assert not (tmp_path / "out").exists()


def test_an_expert_does_not_learn_from_open_measurements(tmp_path: Path) -> None:
    def edit(number: int) -> dict[str, object]:
        with DatasetBuild(tmp_path / f"i{number}", "case", {}) as build:
            image = build.add_image(Image.new("L", (4, 4), number))
        finding = Finding(
            id=f"f{number}",
            image=image,
            concept="leukocyte_count",
            status="uncertain" if number % 2 else "absent",
            value=0.0,
            unit="1",
            region=Region(),
            expert="boxes@1",
        )
        return {"reference": Reference(findings=(finding,))}

    source = photographs(tmp_path / "source", list(range(20)), edit)
    folders = split_by_group(source, tmp_path / "out", roles={"expert": 0.5, "test": 0.5}, seed=0)
    assert len(read_records(folders["expert"], Case)) == 5
    assert read_manifest(folders["expert"]).counts["dropped_unsure"] == 5
    assert len(read_records(folders["test"], Case)) == 10


def test_a_role_without_a_group_is_refused(tmp_path: Path) -> None:
    source = photographs(tmp_path / "source", list(range(30)))
    with pytest.raises(DataError, match="role 'test' would get none of the 3 groups"):
        split_by_group(source, tmp_path / "out", roles={"train": 0.9, "test": 0.1}, seed=0)


def test_cases_that_are_divided_already_are_refused(smear: Path, tmp_path: Path, parts: dict[str, Path]) -> None:
    with pytest.raises(DataError, match="already in split 'test'"):
        split_by_group(parts["test"], tmp_path / "again", roles={"train": 1.0}, seed=0)


@pytest.mark.parametrize("name", ["thesis.docx", "manifest.json"])
def test_a_folder_of_other_things_is_left_alone(smear: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("years of work")
    with pytest.raises(DataError, match=f"{tmp_path}: the folder is not empty and holds no role.*new or empty"):
        split_by_group(smear, tmp_path, roles={"train": 1.0}, seed=0, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_split_that_was_begun_here_continues_beside_a_readers_notes(smear: Path, tmp_path: Path) -> None:
    split_by_group(smear, tmp_path, roles={"train": 1.0}, seed=0)
    (tmp_path / "notes.txt").write_text("looked at")
    split_by_group(smear, tmp_path, roles={"train": 1.0}, seed=0)


def test_a_leftover_role_folder_is_refused(smear: Path, tmp_path: Path) -> None:
    split_by_group(smear, tmp_path, roles={"train": 0.5, "validation": 0.5}, seed=0)
    with pytest.raises(DataError, match="a folder of role 'validation' is here"):
        split_by_group(smear, tmp_path, roles={"train": 0.5, "test": 0.5}, seed=0, overwrite=True)


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        ({"teacher": 1.0}, "unknown role 'teacher'"),
        ({"train": 0.5, "test": 0.4}, "sum to 0.9"),
        ({"train": 1.0, "test": 0.0}, "positive share"),
    ],
)
def test_roles_that_make_no_sense_are_refused(
    smear: Path, tmp_path: Path, roles: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        split_by_group(smear, tmp_path, roles=roles, seed=0)


def test_a_stratified_split_gives_each_role_its_share_of_every_value(world, full, tmp_path):
    stains = ["pale"] * 12 + ["strong"] * 6 + ["normal"] * 2
    truths = {f"c{k}": full | {"stain": stain} for k, stain in enumerate(stains)}
    cases = world.cases("cases", truths, split="unassigned")
    roles = {"train": 0.5, "test": 0.5}
    for seed in range(3):
        parts = split_by_group(cases, tmp_path / f"s{seed}", roles=roles, seed=seed, stratify="finding.stain")
        for folder in parts.values():
            counts = read_manifest(folder).counts
            found = {name.partition(":")[2]: n for name, n in counts.items() if name.startswith("stratum:")}
            assert found == {"pale": 6, "strong": 3, "normal": 1}
    names = [{c.id for c in read_records(tmp_path / f"s{seed}" / "train", Case)} for seed in range(3)]
    assert names[0] != names[1] != names[2]


def test_a_group_of_several_values_counts_once_under_the_commonest(world, full, tmp_path):
    truths = {f"c{k}": full | {"stain": ("pale", "strong", "strong")[k % 3]} for k in range(12)}
    groups = {name: f"g{k // 3}" for k, name in enumerate(truths)}
    cases = world.cases("cases", truths, groups=groups, split="unassigned")
    parts = split_by_group(
        cases, tmp_path / "s", roles={"train": 0.5, "test": 0.5}, seed=0, stratify="finding.stain"
    )
    for folder in parts.values():
        counts = read_manifest(folder).counts
        assert (counts["groups"], counts["stratum:strong"], counts["records"]) == (2, 2, 6)
    with pytest.raises(ValueError, match="'sex' is no field of case records"):
        split_by_group(cases, tmp_path / "x", roles={"train": 0.5, "test": 0.5}, seed=0, stratify="sex")
