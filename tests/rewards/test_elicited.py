import pytest

from vlmalign.records import DataError, DatasetBuild, Judgement, read_manifest, read_records
from vlmalign.rewards.elicited import aggregated_confidence, elicit_confidence, sampled_confidence

LOGIC = "peripheral_smear"
TEXTS = [
    "A leukocyte is present. Red cells are crowded.\nConfidence: 9",
    "A leukocyte is present.\nConfidence: 5",
    "No leukocyte is seen.",
    "Lovely weather.\nConfidence: 10",
]


@pytest.fixture
def samples(make, tmp_path):
    """Four whole samples of one case and one that was cut; a single sample of another."""
    with DatasetBuild(tmp_path / "cases", "case", {}) as build:
        build.commit("0", [make.case(i=i) for i in range(2)])
    with DatasetBuild(tmp_path / "samples", "candidate", {}) as build:
        answers = [make.candidate(text, n=n) for n, text in enumerate(TEXTS)]
        cut = make.candidate("A leukocyte is present. The", n=4, finished=False)
        build.commit("0", [*answers, cut, make.candidate("A leukocyte is present.", i=1)])
    return tmp_path / "samples", tmp_path / "cases"


def judge(samples, tmp_path, method, logic=LOGIC):
    out = elicit_confidence(
        samples[0], tmp_path / method, method=method, logic=logic, cases=None if logic is None else samples[1]
    )
    return read_records(out, Judgement), read_manifest(out).counts


def test_claims_are_compared_with_the_other_whole_samples_that_speak_of_them(samples, tmp_path):
    judged, counts = judge(samples, tmp_path, "sampled")
    assert [j.confidence for j in judged] == [0.5, 0.5, 0.0, None, None, None]
    assert judged[0].components == {"leukocyte": 0.5} and judged[0].score == 0.5
    reasons = [j.invalid_reason for j in judged[3:]]
    assert reasons[0] == "no claim parsed" and reasons[1].startswith("unfinished")
    assert reasons[2] == "no other sample speaks of what it claims" and counts["missing"] == 3


def test_agreement_is_weighted_by_what_the_samples_state(samples, tmp_path):
    judged, _ = judge(samples, tmp_path, "aggregated")
    assert judged[0].components == {"leukocyte": 1.0}  # the sample that denies it states nothing
    assert judged[2].confidence == 0.0


def test_what_is_not_stated_stays_missing(samples, tmp_path):
    judged, counts = judge(samples, tmp_path, "verbal", logic=None)
    assert [j.confidence for j in judged] == [0.9, 0.5, None, 1.0, None, None]
    assert judged[2].invalid_reason == "no confidence is stated" and counts["missing"] == 3


def test_whole_texts_are_compared_without_case_spaces_and_stated_confidence(make, tmp_path):
    with DatasetBuild(tmp_path / "samples", "candidate", {}) as build:
        texts = ["Yes, one.\nConfidence: 3", "yes,  one.", "No."]
        build.commit("0", [make.candidate(text, n=n) for n, text in enumerate(texts)])
    judged, _ = judge((tmp_path / "samples",), tmp_path, "sampled", logic=None)
    assert [j.confidence for j in judged] == [0.5, 0.5, 0.0]


def test_answers_of_another_policy_do_not_count(make, tmp_path):
    with DatasetBuild(tmp_path / "samples", "candidate", {}) as build:
        other = make.candidate("Yes.", n=1).model_copy(update={"policy": "q@2"})
        build.commit("0", [make.candidate("Yes."), other])
    judged, _ = judge((tmp_path / "samples",), tmp_path, "sampled", logic=None)
    assert [j.confidence for j in judged] == [None, None]


def test_a_sample_that_no_other_one_speaks_of_does_not_confirm_itself():
    found = aggregated_confidence([{"stain": "pale", "focus": "sharp"}, {"stain": "dark"}], [0.1, 0.3])
    assert found[0].claims == {"stain": pytest.approx(0.25)} and found[1].confidence == pytest.approx(0.75)
    (alone,) = aggregated_confidence([{"stain": "pale"}], [0.1])
    assert alone.confidence is None and alone.reason.startswith("no other sample")


def test_no_stated_confidence_is_no_weight():
    said = [{"text": "a"}, {"text": "a"}]
    assert [each.confidence for each in aggregated_confidence(said, [None, 0.0])] == [None, None]
    assert [each.confidence for each in sampled_confidence(said)] == [1.0, 1.0]


def test_settings_that_do_not_belong_together_are_refused(samples, make, tmp_path):
    with pytest.raises(ValueError, match="logic and cases belong together"):
        elicit_confidence(samples[0], tmp_path / "out", method="sampled", logic=LOGIC)
    with pytest.raises(ValueError, match="method is 'guess'"):
        elicit_confidence(samples[0], tmp_path / "out", method="guess")
    with DatasetBuild(tmp_path / "stray", "candidate", {}) as build:
        build.commit("0", [make.candidate("Yes.", i=7)])
    with pytest.raises(DataError, match="answers case 'c7'"):
        elicit_confidence(tmp_path / "stray", tmp_path / "out", method="sampled", logic=LOGIC, cases=samples[1])
