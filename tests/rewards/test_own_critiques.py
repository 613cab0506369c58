import pytest

from vlmalign.data.critique import REQUEST_VERSION
from vlmalign.models import Sample, build_tiny_llava
from vlmalign.models.critique_model import CritiqueModel
from vlmalign.records import Preference, RecordFolder, read_manifest
from vlmalign.records.validation import validate_folder
from vlmalign.rewards import critique_writing as writing
from vlmalign.rewards.own_critiques import write_own_critiques


@pytest.fixture(scope="session")
def critique_run(tmp_path_factory):
    vlm = build_tiny_llava(
        ["A leukocyte is present."], image_size=32, patch_size=16, hidden=16, layers=1, vision_hidden=16,
        vision_layers=1, heads=2, vocab_size=300,
    )  # fmt: skip
    run = tmp_path_factory.mktemp("critique")
    CritiqueModel(vlm, request=REQUEST_VERSION).save(run / "model")
    return run


@pytest.fixture
def writes(monkeypatch):
    """Let the model write given samples of every answer."""

    def write(*of_answers):
        def sample(vlm, prompts, *, seeds, **rest):
            return [[Sample((1,), text, -1.0, finished) for text, finished in own] for own in of_answers]

        monkeypatch.setattr(writing, "sample_responses", sample)

    return write


def test_own_critiques_take_the_place_of_given_ones(critique_run, pair_folder, tmp_path, writes):
    writes([("Good.", True)], [("Bad.", True)])
    out = write_own_critiques(critique_run, pair_folder, tmp_path / "out")
    (record,) = RecordFolder(out, Preference)
    (pair,) = RecordFolder(pair_folder, Preference)
    assert (record.id, record.chosen_critique, record.rejected_critique) == ("p", "Good.", "Bad.")
    assert record.provenance["critiques"].startswith("critique@")
    assert (record.chosen, record.images) == (pair.chosen, pair.images) and not validate_folder(out)


def test_several_critiques_make_several_records_and_cut_or_empty_ones_none(
    critique_run, pair_folder, tmp_path, writes
):
    writes([("Good.", True), ("Fine.", True), ("", True)], [("Bad.", True), ("Claim: leu", False), ("B", True)])
    out = write_own_critiques(critique_run, pair_folder, tmp_path / "out", n=3)
    assert [record.id for record in RecordFolder(out, Preference)] == ["p/own-0"]
    counts = read_manifest(out).counts
    expected = {"records_left_out": 2, "critiques_cut": 1, "critiques_empty": 1}
    assert {name: counts[name] for name in expected} == expected


def test_a_continued_build_is_the_same_and_another_model_is_another_build(
    critique_run, pair_folder, tmp_path, writes
):
    writes([("Good.", True)], [("Bad.", True)])
    out = write_own_critiques(critique_run, pair_folder, tmp_path / "out")
    before = (out / "records.jsonl").read_bytes()
    write_own_critiques(critique_run, pair_folder, tmp_path / "out")
    assert (out / "records.jsonl").read_bytes() == before
    with pytest.raises(Exception, match="seed"):
        write_own_critiques(critique_run, pair_folder, tmp_path / "out", seed=1)
