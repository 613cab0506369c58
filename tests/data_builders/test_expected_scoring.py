"""Claims weighed by an expert's probability, beside dropping those of which it is not sure."""

import random

import pytest

from data_builders.expected_scoring import expected_score
from data_builders.expert_pairs import build_expert_pairs
from data_builders.reading import read_answer
from data_builders.scoring import ScoreWeights, score_reading
from vlmalign.records import Preference, assistant, read_manifest, read_records, user

ASK = (user("Describe this blood smear field."),)
OBSERVED = ("focus", "stain", "leukocyte", "crowding", "platelets")


@pytest.fixture
def read(logic):
    return lambda text: read_answer(logic, ASK, (assistant(text),))


def test_a_claim_is_worth_twice_its_probability_minus_one(logic, read):
    beliefs = {"leukocyte": {"present": 0.9, "absent": 0.1}, "stain": {"normal": 0.5, "pale": 0.3, "dark": 0.2}}
    said = read("A leukocyte is seen. The stain of the field is pale.")
    found = expected_score(logic, said, {}, beliefs)
    assert found.value == pytest.approx((0.8 - 0.4) / 2)
    assert (found.right, found.wrong) == (("leukocyte",), ("stain",))
    assert expected_score(logic, read("A leukocyte is seen."), {}, beliefs).value == pytest.approx(0.4)
    denied = expected_score(logic, read("No leukocyte is seen. A leukocyte is seen."), {}, beliefs)
    assert denied.components["correctness"] == pytest.approx(-0.5)


def test_with_sure_probabilities_it_is_the_usual_score(logic, read, world, full):
    sure = {c: {v: float(v == full[c]) for v in logic.concepts[c].values} for c in OBSERVED}
    for text in (
        world.report(full),
        world.report({**full, "crowding": "crowded", "focus": "blurred"}),
        "A leukocyte is seen. No leukocyte is seen. The focus cannot be assessed. Blue moon.",
    ):
        one = expected_score(logic, read(text), full, sure)
        other = score_reading(logic, read(text), full)
        assert one.value == pytest.approx(other.value) and one.right == other.right and one.wrong == other.wrong


@pytest.mark.parametrize(
    ("text", "beliefs", "reason"),
    [
        ("Blue moon.", {"leukocyte": {"present": 1.0}}, "nothing_parsed"),
        ("A leukocyte is seen.", {}, "nothing_known"),
        ("A leukocyte is seen.", {"stain": {"pale": 1.0}}, "nothing_checkable"),
    ],
)
def test_what_cannot_be_scored_has_no_number(logic, read, text, beliefs, reason):
    found = expected_score(logic, read(text), {}, beliefs)
    assert found.value is None and found.reason == reason


def agreement(logic, world, n=300):
    """How often each rule prefers the truly better of two answers; an undecided pair counts one half.

    The expert believes the true value with probability q, drawn anew for each concept, and says q.
    """
    rng = random.Random(20261127)
    right = {"drop": 0.0, "weigh": 0.0}
    told = 0
    for _ in range(n):
        values = {c: list(logic.concepts[c].values) for c in OBSERVED}
        truth = {c: rng.choice(v) for c, v in values.items()}
        sure, beliefs = {}, {}
        for c, v in values.items():
            q = rng.uniform(0.4, 1.0)
            belief = truth[c] if rng.random() < q else rng.choice([x for x in v if x != truth[c]])
            beliefs[c] = {x: q if x == belief else (1 - q) / (len(v) - 1) for x in v}
            if q >= 0.8:
                sure[c] = belief
        answers = [{c: rng.choice(v) for c, v in values.items()} for _ in range(2)]
        better, worse = sorted(answers, key=lambda a: -sum(a[c] == truth[c] for c in truth))
        if sum(better[c] == truth[c] for c in truth) == sum(worse[c] == truth[c] for c in truth):
            continue
        told += 1
        readings = [read_answer(logic, ASK, (assistant(world.report(a)),)) for a in (better, worse)]
        plain = ScoreWeights(consistency=0)
        scores = {
            "drop": [score_reading(logic, r, sure, weights=plain).value for r in readings],
            "weigh": [expected_score(logic, r, {}, beliefs, weights=plain).value for r in readings],
        }
        for rule, (a, b) in scores.items():
            margin = 0.0 if a is None or b is None else a - b
            right[rule] += 0.5 if abs(margin) < 1e-9 else float(margin > 0)
    return {rule: n / told for rule, n in right.items()}


def test_on_simulated_noise_weighing_is_nearer_to_truth_where_probabilities_are_calibrated(logic, world):
    found = agreement(logic, world)
    assert found["weigh"] > found["drop"] + 0.02 and found["drop"] > 0.5


def test_a_folder_of_pairs_weighs_what_it_would_have_dropped(world, logic, full):
    cases = world.cases("cases", {"a": full}, reference=False)
    findings = world.findings("found", cases, {"a": {"leukocyte": "present"}}, probability=0.7)
    sampled = world.candidates("sampled", {"a": ["A leukocyte is seen.", "No leukocyte is seen."]})
    built = {
        rule: build_expert_pairs(cases, sampled, findings, world.root / rule, logic=logic, uncertain=rule)
        for rule in ("drop", "weigh")
    }
    assert read_manifest(built["drop"]).counts["cases_without_knowledge"] == 1
    (pair,) = read_records(built["weigh"], Preference)
    assert pair.chosen[0].text == "A leukocyte is seen." and pair.margin == pytest.approx(0.8)
    assert pair.provenance["probabilities"] == {"leukocyte": {"absent": 0.3, "present": 0.7}}
    assert pair.expert_ids == ("hand@1",)
    with pytest.raises(ValueError, match="uncertain is 'guess'"):
        build_expert_pairs(cases, sampled, findings, world.root / "x", logic=logic, uncertain="guess")
