"""Leakage, duplicates and balance: what is dropped, why, and that the rest is as it was."""

import pytest
from PIL import Image, ImageFilter

from data_builders.content_rules import ContentRules
from data_builders.filter_rules import PairRules
from data_builders.filters import filter_cases, filter_pairs, read_dropped
from vlmalign.records import Case, DataError, DatasetBuild, Preference, read_manifest, read_records
from vlmalign.records.validation import validate_folder


@pytest.fixture
def noisy():
    """Pictures whose difference hashes are far apart, by number."""

    def make(number):
        return Image.effect_noise((64, 64), 90 + number).filter(ImageFilter.GaussianBlur(4)).convert("RGB")

    made = {}
    return lambda number: made.setdefault(number, make(number))


@pytest.fixture
def write(tmp_path, pair_folders):
    """A folder of pairs: (id, picture, fields of the pair) each."""

    def run(name, *rows):
        with DatasetBuild(tmp_path / name, "preference", {"name": name}) as build:
            for pair_id, picture, fields in rows:
                build.commit(pair_id, [pair_folders.pair(pair_id, build.add_image(picture), **fields)])
        return tmp_path / name

    return run


def ids(folder):
    return [pair.id for pair in read_records(folder, Preference)]


def why(folder):
    return {line["id"]: line["reasons"] for line in read_dropped(folder)}


def test_what_shares_a_patient_or_a_picture_with_evaluation_is_dropped_or_refused(write, noisy, tmp_path):
    smaller = noisy(1).resize((48, 48))
    rows = [("own", 0, "g0"), ("near", 1, "g1"), ("patient", 2, "t"), ("equal", 3, "g3")]
    train = write("train", *[(name, noisy(number), {"group_id": group}) for name, number, group in rows])
    test = write("test", ("a", smaller, {"group_id": "t"}), ("b", noisy(3), {"group_id": "u"}))
    out = filter_pairs(train, tmp_path / "out", contents=ContentRules(max_bits=4), against=[test])
    assert ids(out) == ["own"]
    assert why(out) == {
        "near": ["shares_near_picture"], "patient": ["shares_group"], "equal": ["shares_picture"],
    }  # fmt: skip
    assert read_dropped(out)[1]["with"] == "test"
    exact = filter_pairs(train, tmp_path / "exact", contents=ContentRules(), against=[test])
    assert ids(exact) == ["own", "near"]
    pictures = filter_pairs(train, tmp_path / "pictures", contents=ContentRules(groups=False), against=[test])
    assert ids(pictures) == ["own", "near", "patient"]
    with pytest.raises(DataError, match="record 'patient', field 'group_id': the group t is also in test"):
        filter_pairs(train, tmp_path / "x", contents=ContentRules(leakage="refuse"), against=[test])
    assert not (tmp_path / "x").exists() and validate_folder(out) == []


def test_across_splits_test_keeps_its_patients_and_train_loses_them(write, noisy, tmp_path):
    rows = [("a", 0, "g0", "train"), ("b", 1, "g0", "validation"), ("c", 2, "g1", "validation"), ("g", 5, "g0", ""
    ""),
            ("d", 3, "g1", "test"), ("e", 3, "g2", "train"), ("f", 4, "g3", "train")]  # fmt: skip
    folder = write("all", *[(k, noisy(n), {"group_id": g, "split": s or "unassigned"}) for k, n, g, s in rows])
    out = filter_pairs(folder, tmp_path / "out", contents=ContentRules(across_splits=True))
    assert ids(out) == ["b", "g", "d", "f"]
    assert why(out) == {"a": ["shares_group"], "c": ["shares_group"], "e": ["shares_picture"]}


def test_duplicates_by_record_picture_and_text_are_three_rules(write, noisy, tmp_path):
    small = noisy(0).resize((48, 48))
    folder = write(
        "all", ("first", noisy(0), {}), ("same", noisy(0), {"chosen": "A  LEUKOCYTE is present."}),
        ("near", small, {}), ("says", noisy(0), {"chosen": "Something else."}), ("shows", noisy(1), {}),
    )  # fmt: skip

    def kept(name, **rules):
        return ids(filter_pairs(folder, tmp_path / name, contents=ContentRules(**rules)))

    assert kept("record", duplicates=("record",)) == ["first", "near", "says", "shows"]
    assert kept("near", duplicates=("record",), max_bits=4) == ["first", "says", "shows"]
    assert kept("picture", duplicates=("picture",)) == ["first", "near", "shows"]
    assert kept("picture-near", duplicates=("picture",), max_bits=4) == ["first", "shows"]
    assert kept("text", duplicates=("text",)) == ["first", "says"]
    assert kept("both", duplicates=("picture", "text")) == ["first"]
    assert [line["duplicate_of_line"] for line in read_dropped(tmp_path / "both")] == [1, 1, 1, 1]


def test_a_record_that_another_rule_drops_makes_no_duplicate_of_a_later_one(write, noisy, tmp_path):
    long = "one two three four five six seven eight nine"
    folder = write("all", ("long", noisy(0), {"chosen": long}), ("short", noisy(0), {}))
    rules = PairRules(max_extra_words=3)
    out = filter_pairs(folder, tmp_path / "out", rules=rules, contents=ContentRules(duplicates=("picture",)))
    assert ids(out) == ["short"] and why(out) == {"long": ["too_long"]}


def claims(*concepts):
    return [
        (f"p{k}", Image.new("RGB", (8, 8), (k, 0, 0)), {"changed_claim": c and {"concept": c}, "weight": 0.5})
        for k, c in enumerate(concepts)
    ]


def test_large_classes_are_sampled_by_a_seed_or_weighed_less(write, tmp_path):
    folder = write("all", *claims(*"aaaaaabbc", None))

    def run(name, **rules):
        return filter_pairs(
            folder, tmp_path / name, contents=ContentRules(balance="changed_claim.concept", **rules)
        )

    def tally(out):
        found = [pair.changed_claim and pair.changed_claim.concept for pair in read_records(out, Preference)]
        return {name: found.count(name) for name in ("a", "b", "c", None)}

    first, again, other = run("one"), run("again"), run("other", seed=1)
    assert tally(first) == {"a": 1, "b": 1, "c": 1, None: 1}
    assert ids(first) == ids(again) and ids(first)[0] != ids(other)[0]
    assert tally(run("three", balance_ratio=3)) == {"a": 3, "b": 2, "c": 1, None: 1}
    assert {tuple(line["reasons"]) for line in read_dropped(first)} == {("class_balance",)}
    assert read_manifest(first).counts["without_class"] == 1
    weighed = run("weighed", balance_by="weight", balance_ratio=2)
    weights = {pair.id: pair.weight for pair in read_records(weighed, Preference)}
    # of class a six may count as two: 0.5 * 2 / 6 each
    assert [weights[f"p{k}"] for k in (0, 5, 6, 8, 9)] == pytest.approx([1 / 6, 1 / 6, 0.5, 0.5, 0.5])
    assert read_manifest(weighed).counts["weighed_less"] == 6 and not read_dropped(weighed)


def test_a_balance_of_one_class_or_of_an_unknown_field_is_refused(write, tmp_path):
    folder = write("all", *claims("a", "a"))
    with pytest.raises(DataError, match="nothing to balance: changed_claim.concept has 'a' in the 2 records"):
        filter_pairs(folder, tmp_path / "x", contents=ContentRules(balance="changed_claim.concept"))
    with pytest.raises(ValueError, match="'claim' is no field of preference records"):
        filter_pairs(folder, tmp_path / "x", contents=ContentRules(balance="claim"))
    with pytest.raises(ValueError, match="no rule is given"):
        filter_pairs(folder, tmp_path / "x", contents=ContentRules())
    assert not (tmp_path / "x").exists()


def test_cases_are_balanced_by_a_finding_and_keep_their_masks(world, full, tmp_path):
    truths = {f"c{k}": full | {"stain": "pale" if k else "strong"} for k in range(4)}
    cases = world.cases("cases", truths)
    out = filter_cases(cases, tmp_path / "out", contents=ContentRules(balance="finding.stain"))
    kept = read_records(out, Case)
    assert len(kept) == 2 and kept[0].id == "c0" and validate_folder(out) == []
    with pytest.raises(ValueError, match="case records have no weight"):
        filter_cases(cases, tmp_path / "x", contents=ContentRules(balance="finding.stain", balance_by="weight"))


def test_a_killed_content_filter_continues_to_the_same_bytes(write, tmp_path, killed, bytes_of):
    folder = write("all", *claims(*"aaabbc"))
    rules = ContentRules(balance="changed_claim.concept", duplicates=("record",))
    whole = filter_pairs(folder, tmp_path / "whole", contents=rules)
    killed(lambda: filter_pairs(folder, tmp_path / "out", contents=rules), 3)
    assert bytes_of(filter_pairs(folder, tmp_path / "out", contents=rules)) == bytes_of(whole)
