"""The demo from end to end, at a size that is too small for conclusions."""

import json
import os
import shutil
from pathlib import Path

import pytest

from vlmalign.cli.demo import demo
from vlmalign.cli.demo_plan import ARMS, IN_SCOPE, LOGIC
from vlmalign.cli.given_truth import truths_of
from vlmalign.clinical import load_logic, parse_text
from vlmalign.evaluation import check_results
from vlmalign.records import Case, Preference, read_manifest, read_records

ONLINE = ("grpo_expert", "grpo_reward")
BCCD = Path(os.environ.get("VLMALIGN_DATA", "../shared/data")) / "bccd"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "out"
    demo(out=out, seed=100, preset="quick", jobs=1, align="dpo,grpo")
    return out


@pytest.fixture(scope="module")
def results(finished):
    return json.loads((finished / "results.json").read_text())


def test_the_results_hold_every_section_that_the_schema_names(results):
    check_results(results, complete=True)
    assert set(results["arms"]) == {*ARMS, *ONLINE, "expert_only"}


def test_every_figure_carries_its_counts_and_interval(results):
    for arm in results["arms"].values():
        for figure in arm.values():
            assert {"mean", "low", "high", "n", "excluded"} <= set(figure)


def test_online_arms_are_followed_over_kl_and_compared_at_no_more_compute_than_dpo(finished, results):
    for arm in ONLINE:
        (run,) = results["online"][arm]
        assert run["evaluations"][0]["kl"] == pytest.approx(0.0, abs=1e-4)
        assert all(point["gold"] is not None and point["gold_se"] > 0 for point in run["evaluations"])
        assert run["kept_round"] in [point["round"] for point in run["evaluations"]]
        assert {f"{arm}_minus_sft_more", f"{arm}_minus_dpo"} <= set(results["comparisons"])
        assert results["flops"][arm] <= results["flops"]["dpo"]
    assert "Proxy and gold reward over KL" in (finished / "report.html").read_text()


def test_validation_slides_are_nobodys_training_or_test_slides(finished):
    root = finished / "seed-100"
    groups = {case.group_id for case in read_records(root / "validation", Case)}
    assert groups and not groups & {case.group_id for case in read_records(root / "cases", Case)}


def test_text_alone_gets_exactly_one_half_of_role_swapped_pairs(results):
    assert results["reward_model"]["role_swapped_blanked"]["mean"] == 0.5


def test_the_roles_share_no_group(finished):
    root = finished / "seed-100" / "roles"
    groups = [{c.group_id for c in read_records(folder, Case)} for folder in sorted(root.iterdir())]
    assert len(groups) == 4
    assert sum(map(len, groups)) == len(set.union(*groups))


def test_no_folder_that_pairs_are_made_from_holds_an_answer(finished):
    root = finished / "seed-100"
    assert all(c.reference is None for c in read_records(root / "prompts", Case))
    assert all(c.reference is None for c in read_records(root / "roles" / "unlabelled", Case))
    assert all(not c.reference.findings for c in read_records(root / "labels", Case))


def test_pairs_agree_with_the_truth_that_they_never_saw(finished):
    """On in-scope concepts the chosen answer is right more often than the rejected one."""
    root, logic = finished / "seed-100", load_logic(LOGIC)
    truths = truths_of(read_records(root / "cases", Case), logic)
    right = {"chosen": 0, "rejected": 0}
    for pair in read_records(root / "pairs", Preference):
        for side in right:
            said = parse_text(logic, getattr(pair, side)[0].text).answers
            right[side] += sum(said.get(c) == truths[pair.case_id].answers.get(c) for c in IN_SCOPE)
    assert right["chosen"] > right["rejected"]


def test_the_report_is_one_file_with_pictures_and_no_outside_address(finished):
    html = (finished / "report.html").read_text()
    assert "data:image/png;base64" in html
    assert "<script" not in html and 'src="http' not in html and "@import" not in html


def test_arms_had_equal_compute(results):
    flops = results["flops"]
    for arm in ("sft_more", "sft_clean", "sft_best_of_n", "sft_edited", "dpo_shuffled"):
        assert flops[arm] == pytest.approx(flops["dpo"], rel=0.15)


def test_the_same_command_again_gives_the_same_results(finished, results):
    demo(out=finished, seed=100, preset="quick", jobs=1, align="dpo,grpo")
    again = json.loads((finished / "results.json").read_text())
    assert {**again, "seconds": results["seconds"]} == results  # seconds are of the longest call, whichever it was


def test_a_finished_demo_is_scored_on_other_phantoms(finished, tmp_path):
    from vlmalign.cli.transfer import transfer

    scored = transfer(finished, "smear", None, seed=5, slides=3, jobs=1, report=tmp_path / "r.html")
    check_results(scored)
    page = (tmp_path / "r.html").read_text()
    assert "What dpo says, by concept" in page and page.count('<article class="example">') >= 3
    assert scored["n_groups"]["test"] == 3 and scored["shared_groups"] == 0


def test_a_finished_demo_is_scored_on_real_photographs(finished, tmp_path):
    if not BCCD.is_dir():
        pytest.skip(f"real photographs are not at {BCCD} (set VLMALIGN_DATA)")
    from vlmalign.cli.transfer import transfer

    for part, suffix in (("JPEGImages", ".jpg"), ("Annotations", ".xml")):
        (tmp_path / part).mkdir()
        for number in (0, 50, 100):
            name = f"BloodImage_{number:05d}{suffix}"
            shutil.copy(BCCD / part / name, tmp_path / part / name)
    scored = transfer(finished, "bccd", tmp_path, seed=5, slides=0, jobs=1)
    check_results(scored)
    assert read_manifest(next(finished.glob("evaluations/bccd-*")) / "cases").counts["records"] == 18


def test_another_demo_in_the_same_folder_is_refused(tmp_path):
    (tmp_path / "demo.json").write_text(json.dumps({"source": "smear", "data": None, "seed": 1, "preset": "full"}))
    (tmp_path / "seed-1" / "cases").mkdir(parents=True)
    with pytest.raises(ValueError, match="seed: 1 there, 2 here"):
        demo(out=tmp_path, seed=2)


def test_contradictory_options_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="--source bccd needs --data"):
        demo(source="bccd", out=tmp_path / "x")
    with pytest.raises(ValueError, match="phantoms read no data"):
        demo(data=tmp_path, out=tmp_path / "x")
    assert not (tmp_path / "x").exists()
