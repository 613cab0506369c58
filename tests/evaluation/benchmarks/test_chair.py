import pytest

from vlmalign.evaluation.benchmarks.object_words import read_synonyms
from vlmalign.records import DataError

OBJECTS = {"1": ["dog", "person"], "2": ["cat"], "3": ["dog"], "4": ["train"]}
CAPTIONS = [
    {
        "image_id": 1,
        "caption": "A woman and her puppy. The dog and a cat play.",
    },  # person dog dog cat: cat is false
    {"image_id": 2, "caption": "A cat."},
    {"image_id": 3, "caption": "Grass and sky."},  # names nothing
]
SYNONYMS = "person, woman, man\ndog, puppy\ncat, kitten\ntrain\nhot dog\n! train track\n"


@pytest.fixture
def files(write_log, tmp_path):
    (tmp_path / "synonyms.txt").write_text(SYNONYMS)
    return write_log("objects.json", OBJECTS), write_log("captions.json", CAPTIONS)


def test_false_objects_are_counted_by_caption_and_by_mention(files, tmp_path, run, means):
    result = run("chair", *files, synonyms=str(tmp_path / "synonyms.txt"))
    # mentions: 4 and 1 and 0, one of them false; objects named: 2 of 2, 1 of 1, 0 of 1
    assert means(result, "hallucination") == {
        "chair_s": 0.3333, "chair_s_speaking": 0.5, "chair_i": 0.2, "coverage": 0.75
    }  # fmt: skip
    assert result.counts == {"scored": 3, "missing": 1}
    assert means(result, "length")["mentions"] == round(5 / 3, 4)


def test_without_synonyms_only_the_names_themselves_are_found(files, run, means):
    assert means(run("chair", *files), "hallucination")["chair_i"] == round(1 / 3, 4)


def test_silence_is_the_null_baseline_that_never_hallucinates(files, run, means):
    result = run("chair", *files)
    assert means(result, "baselines", "silence") == {
        "chair_s": 0.0, "chair_s_speaking": None, "chair_i": None, "coverage": 0.0
    }  # fmt: skip
    assert means(result, "baselines", "always dog")["chair_i"] == 0.5


def test_the_longest_name_wins_and_some_phrases_name_nothing(files, tmp_path):
    words = read_synonyms(tmp_path / "synonyms.txt")
    assert list(words.mentions("Men eat hot dogs by the train tracks, near trains.")) == [
        "person",
        "hot dog",
        "train",
    ]


def test_findings_that_a_report_claims_are_read_by_the_claim_parser(write_log, run, means):
    rows = [
        {"id": "1", "findings": {"edema": "present", "pneumothorax": "absent"}, "patient": "p1",
         "prediction": "There is a pneumothorax. There is edema. There is a fracture."},
        {"id": "2", "findings": {"edema": "absent"}, "patient": "p2", "prediction": "There is no edema."},
    ]  # fmt: skip
    result = run("chair", write_log("reports.jsonl", rows), logic="chest_xray")
    # the fracture is not known of; of two known mentions one is false
    found = means(result, "hallucination")
    assert (found["chair_i"], found["chair_s"], found["coverage"]) == (0.5, 0.5, 1.0)
    assert "1 mentions are of what is not known" in " ".join(result.notes)


def test_a_caption_of_an_image_without_objects_and_a_name_of_two_objects_are_refused(
    files, write_log, tmp_path, run
):
    with pytest.raises(DataError, match="record '7': of 1 captions 1 have no objects"):
        run("chair", files[0], write_log("other.json", [{"image_id": 7, "caption": "A cat."}]))
    (tmp_path / "bad.txt").write_text("dog, pet\ncat, pet\n")
    with pytest.raises(DataError, match="bad.txt:2: 'pet' is a name of 'dog' and of 'cat'"):
        run("chair", *files, synonyms=str(tmp_path / "bad.txt"))
