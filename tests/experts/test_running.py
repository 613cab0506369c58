import json

import numpy as np
import pytest
from PIL import Image

from experts import Examination, Measured, load_expert, run_expert
from experts.running import findings_of, status_of
from vlmalign.records import Case, DataError, DatasetBuild, Finding, ImageRef, RecordFolder, read_records, user
from vlmalign.records.validation import validate_folder


@pytest.fixture(scope="module")
def found(trained, discs, tmp_path_factory):
    return run_expert(trained, discs, tmp_path_factory.mktemp("found") / "findings", batch_size=10)


def test_every_case_gets_one_finding_for_each_concept(found, discs, trained):
    findings, cases = read_records(found, Finding), read_records(discs, Case)
    concepts = ["disc_count", "disc_cover", "dot_count", "dot_cover"]
    assert [f.id for f in findings] == [f"{case.id}/{concept}" for case in cases for concept in concepts]
    assert {f.expert for f in findings} == {load_expert(trained).card.id}
    assert validate_folder(found) == []


def test_counts_carry_a_probability_and_everything_a_standard_deviation(found):
    for finding in read_records(found, Finding):
        assert (finding.probability is not None) == finding.concept.endswith("_count")
        assert finding.std is not None


def test_the_stored_mask_shows_the_cover_that_the_finding_states(found):
    folder = RecordFolder(found, Finding)
    near = []
    for finding in folder:
        if finding.concept == "disc_cover":
            mask = np.asarray(Image.open(folder.resolve(finding.region.mask)))
            assert mask.shape == (32, 32)
            near.append(abs((mask == finding.region.label).mean() - finding.value))
    assert max(near) < 0.05


def test_the_manifest_counts_states_and_cases_of_training_groups(found, discs):
    counts = RecordFolder(found, Finding).manifest.counts
    assert sum(n for name, n in counts.items() if name.startswith("status_")) == counts["records"]
    assert counts["cases_of_training_groups"] == 7 * 3


def test_a_killed_run_continues_to_the_same_bytes(found, trained, discs, tmp_path, monkeypatch):
    commit, calls = DatasetBuild.commit, 0

    def killed(self, *args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        commit(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(DatasetBuild, "commit", killed)
        with pytest.raises(KeyboardInterrupt):
            run_expert(trained, discs, tmp_path / "f", batch_size=10)
    run_expert(trained, discs, tmp_path / "f", batch_size=10)
    for name in ("records.jsonl", "manifest.json"):
        assert (tmp_path / "f" / name).read_bytes() == (found / name).read_bytes()


def test_a_damaged_image_is_an_error_that_names_the_file(trained, tmp_path):
    with DatasetBuild(tmp_path / "cases", "case", {}) as build:
        image = build.add_image(Image.new("RGB", (16, 16)))
        build.commit("one", [Case(id="c", images=(image,), messages=(user("?", images=1),), domain="d",
                                  group_id="g", group_kind="slide")])  # fmt: skip
    (tmp_path / "cases" / image.path).write_bytes(b"not a picture")
    with pytest.raises(DataError, match="cannot be decoded"):
        run_expert(trained, tmp_path / "cases", tmp_path / "out")


def test_images_of_different_shapes_in_one_call_are_examined_as_if_alone(trained):
    expert = load_expert(trained)
    rng = np.random.default_rng(0)
    images = [
        Image.fromarray(rng.integers(0, 255, (h, w, 3), dtype=np.uint8)) for h, w in ((20, 33), (32, 32), (20, 33))
    ]
    together = expert.examine(images)
    for image, mine in zip(images, together, strict=True):
        (alone,) = expert.examine([image])
        assert mine.labels.shape == image.size[::-1]
        assert {k: m.value for k, m in mine.measurements.items()} == pytest.approx(
            {k: m.value for k, m in alone.measurements.items()}, abs=0.01
        )


def test_presence_is_uncertain_strictly_between_the_limits():
    states = [status_of(Measured(1.0, 0.0, p)) for p in (0.0, 0.2, 0.25, 0.75, 0.8, 1.0)]
    assert states == ["absent", "absent", "uncertain", "uncertain", "present", "present"]


def test_an_expert_without_masks_gives_findings_without_regions():
    image = ImageRef(path="images/x.png", sha256="0" * 64)
    (finding,) = findings_of(Examination({"cup_ratio": Measured(0.4, 0.05)}), image, None, "c", "c", "x@1")
    assert finding.region is None and finding.status == "present"


def test_a_batch_size_below_one_is_refused(trained, discs, tmp_path):
    with pytest.raises(ValueError, match="batch_size is 0"):
        run_expert(trained, discs, tmp_path / "f", batch_size=0)


def test_the_records_hold_no_time_and_no_machine_path(found, trained, discs):
    text = (found / "records.jsonl").read_text() + (found / "manifest.json").read_text()
    assert str(discs) not in text and str(trained) not in text
    assert json.loads((found / "manifest.json").read_text())["config"]["expert"] == load_expert(trained).card.id


def test_shards_of_a_run_are_whole_batches_of_the_undivided_one(found, trained, discs, tmp_path):
    from vlmalign.records.shards import building, parse_shard

    parts = []
    for number in range(2):
        with building(parse_shard(f"{number}/2")):
            parts.append(run_expert(trained, discs, tmp_path / f"part-{number}", batch_size=10))
    counts = [RecordFolder(part, Finding).manifest.counts["records"] for part in parts]
    assert counts == [4 * 10, 4 * 14]  # of three batches with 10, 10 and 4 cases one and two
    lines = [(part / "records.jsonl").read_bytes() for part in parts]
    assert b"".join(lines) == (found / "records.jsonl").read_bytes()
