import json
import math

import pytest
from PIL import Image

from vlmalign.records import (
    Candidate,
    Case,
    DatasetBuild,
    Judgement,
    Preference,
    Sampling,
    assistant,
    read_records,
    user,
)  # fmt: skip


def write_pairs(folder, n_groups, per_group=3, **fields):
    with DatasetBuild(folder, "preference", {}) as build:
        image = build.add_image(Image.new("RGB", (8, 8)))
        build.commit("0", [
            Preference(
                id=f"p{g}-{i}", case_id=f"c{g}", group_id=f"g{g}", images=(image,),
                prompt=(user("Describe.", images=1),), chosen=(assistant("Yes."),), rejected=(assistant("No."),),
                source="expert", **{"split": "test", **fields},
            )
            for g in range(n_groups) for i in range(per_group)
        ])  # fmt: skip
    return folder


def write_judged(folder, pairs, shift=0.6, judge="scalar@1"):
    """Scores that prefer the chosen answer mostly, far too surely."""
    records = []
    for k, pair in enumerate(read_records(pairs, Preference)):
        for side, score in (("chosen", 6 * (math.sin(7.3 * k) + shift)), ("rejected", 0.0)):
            name = f"{pair.id}/{side}"
            records.append(Judgement(
                id=name, case_id=pair.case_id, candidate_ids=(name,), criterion="scalar", judge=judge, score=score,
                std=0.5 + (k % 3),
            ))  # fmt: skip
    with DatasetBuild(folder, "judgement", {"shift": shift, "judge": judge}) as build:
        build.commit("0", records)
    return folder


@pytest.fixture
def data(tmp_path):
    pairs = write_pairs(tmp_path / "pairs", 40)
    return {"pairs": pairs, "judged": write_judged(tmp_path / "judged", pairs)}


def arguments(data):
    return ("calibrate", "--pairs", data["pairs"], "--judged", data["judged"])


def test_a_reward_is_calibrated_with_figures_promises_and_n(vlmalign, data, tmp_path):
    result = vlmalign(
        *arguments(data), "--rule", "risk", "--alpha", 0.3, "--out", "c.json", "--plots", "plots",
        "--also", write_judged(tmp_path / "tuned", data["pairs"], shift=-0.2), "--also-pairs", data["pairs"],
    )  # fmt: skip
    assert result.code == 0, result.err
    for words in (
        "scalar@1: venn_abers of pairs, fitted to 20 items of 20 groups", "120 items of 40 groups", "Brier score",
        "also (no guarantee there)", "Venn-ABERS: of p0 and p1", "n = 20 groups", "another policy's answers",
        "AUROC of |margin|", "kept and wrong", "wrote c.json",
    ):  # fmt: skip
        assert words in result.out
    notes = json.loads((tmp_path / "c.json").read_text())["notes"]
    assert notes["figures"]["also"]["standing"] == "no guarantee there"
    assert notes["figures"]["held out"]["promised"]["mean"] <= 0.3
    assert {p.name for p in (tmp_path / "plots").iterdir()} == {"reliability.svg", "risk_coverage.svg"}


def test_the_same_command_again_leaves_the_same_bytes_and_another_is_refused(vlmalign, refused, data, tmp_path):
    assert vlmalign(*arguments(data), "--out", "c.json").code == 0
    first = (tmp_path / "c.json").read_bytes()
    assert vlmalign(*arguments(data), "--out", "c.json").code == 0 and (tmp_path / "c.json").read_bytes() == first
    refused(*arguments(data), "--out", "c.json", "--method", "platt", says="other settings")
    assert vlmalign(*arguments(data), "--out", "c.json", "--method", "platt", "--overwrite").code == 0


def test_a_rule_that_the_folds_are_too_small_for_is_fitted_and_said_to_be_unchecked(vlmalign, data):
    result = vlmalign(*arguments(data), "--rule", "risk", "--alpha", 0.05, "--out", "c.json")
    assert result.code == 0 and "the rule was not checked across groups: alpha is 0.05, and with 16" in result.out


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        (("--method", "isotnic"), "Did you mean 'isotonic'"),
        (("--rule", "risk", "--alpha", "0.01"), "with 20 groups no less than 0.0476 can be promised"),
        (("--gold", "judged"), "give either --pairs or --gold"),
        (("--also-pairs", "pairs"), "give --also too"),
        (("--also", "judged"), "give either --also-pairs or --also-gold"),
    ],
)
def test_what_cannot_be_calibrated_is_refused_in_one_sentence(refused, data, extra, says):
    refused(*arguments(data), "--out", "c.json", *extra, says=says)


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_a_reward_that_orders_no_better_than_a_coin_is_said_to(vlmalign, tmp_path, method):
    pairs = write_pairs(tmp_path / "pairs", 8)
    for name, shift in (("good", 0.6), ("upside_down", -0.9)):
        judged = write_judged(tmp_path / name, pairs, shift=shift)
        out = vlmalign(
            "calibrate", "--pairs", pairs, "--judged", judged, "--out", f"{name}.json", "--method", method
        ).out
        assert ("no better than a coin" in out) == (name == "upside_down")


def test_pairs_that_the_reward_may_have_learnt_from_are_pointed_out(vlmalign, tmp_path):
    pairs = write_pairs(tmp_path / "pairs", 8, split="train")
    judged = write_judged(tmp_path / "judged", pairs)
    result = vlmalign("calibrate", "--pairs", pairs, "--judged", judged, "--out", "c.json")
    assert result.code == 0 and "careful: 24 of the 24 pairs are of split 'train'" in " ".join(result.out.split())
    assert "no promise holds" in json.loads((tmp_path / "c.json").read_text())["notes"]["of_training"]


def test_pairs_that_the_reward_decided_itself_are_refused(refused, tmp_path):
    pairs = write_pairs(tmp_path / "pairs", 8, judge_ids=("scalar@1",))
    judged = write_judged(tmp_path / "judged", pairs)
    says = "scalar@1 decided 24 of these 24 pairs itself"
    refused("calibrate", "--pairs", pairs, "--judged", judged, "--out", "c.json", says=says)
    assert not (tmp_path / "c.json").exists()


def test_answers_judged_by_another_reward_are_refused(refused, data, tmp_path):
    other = write_judged(tmp_path / "other", data["pairs"], judge="scalar@2")
    also = ("--also", other, "--also-pairs", data["pairs"])
    refused(
        *arguments(data),
        *also,
        "--out",
        "c.json",
        says="fitted to 'scalar@1' and the scores are those of 'scalar@2'",
    )


def test_answers_get_probabilities_from_a_calibration_against_gold_judgements(vlmalign, cases, tmp_path):
    texts = ("A leukocyte is present.", "No leukocyte is seen.", "Lovely weather.")
    with DatasetBuild(tmp_path / "answers", "candidate", {}) as build:
        build.commit("0", [
            Candidate(
                id=f"{case.id}/{n}", case_id=case.id, messages=(assistant(text),), policy="p@1", seed=0,
                sampling=Sampling(max_new_tokens=8),
            )
            for case in read_records(cases, Case) for n, text in enumerate(texts)
        ])  # fmt: skip
    on = ("--cases", cases, "--candidates", "answers")
    settings = ("logic=peripheral_smear", "concepts=[leukocyte]")
    reward = [part for setting in settings for part in ("--set", setting)]
    assert vlmalign("score", "symbolic", *reward, *on, "--out", "judged").code == 0
    assert vlmalign("score", "symbolic", *reward, "--set", "weights.wrong=2", *on, "--out", "gold").code == 0
    made = vlmalign(
        "calibrate", "--judged", "judged", "--gold", "gold", "--cases", cases, "--method", "temperature",
        "--out", "c.json",
    )  # fmt: skip
    assert made.code == 0 and "gold unknown 6" in made.out, made.err
    wrapped = [part for setting in settings for part in ("--set", f"settings.{setting}")]
    found = vlmalign(
        "score",
        "calibrated",
        "--set",
        "reward=symbolic",
        *wrapped,
        "--set",
        "calibration=c.json",
        *on,
        "--out",
        "p",
    )
    assert found.code == 0, found.err
    judged = read_records(tmp_path / "p", Judgement)
    raw = read_records(tmp_path / "judged", Judgement)
    assert [j.valid for j in judged] == [j.valid for j in raw]
    assert all((j.score > 0.5) == (r.score > 0) for j, r in zip(judged, raw, strict=True) if j.valid)
    assert judged[0].components["probability"] == judged[0].score and judged[0].components["raw"] == raw[0].score


def test_confidence_is_elicited_and_what_is_missing_counted(vlmalign, tmp_path):
    with DatasetBuild(tmp_path / "samples", "candidate", {}) as build:
        build.commit("0", [
            Candidate(
                id=f"c/{n}", case_id="c", messages=(assistant(text),), policy="p@1", seed=0,
                sampling=Sampling(max_new_tokens=8),
            )
            for n, text in enumerate(("Yes.", "Yes. Confidence: 8"))
        ])  # fmt: skip
    result = vlmalign("elicit", "samples", "--method", "verbal", "--out", "confidence")
    assert result.code == 0 and "2 records: missing 1" in result.out
