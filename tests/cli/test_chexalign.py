"""CheXalign from end to end, at a size that is too small for conclusions."""

import json
import re
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import fmean

import pytest
import yaml

from data_builders.judges.error_counts import CATEGORIES
from vlmalign.cli.chexalign import chexalign
from vlmalign.cli.chexalign_plan import ANSWERED, ARMS, Study, chexalign_steps
from vlmalign.cli.chexalign_results import collect_chexalign
from vlmalign.cli.pipeline import Step
from vlmalign.cli.stages import StageError, run_stage
from vlmalign.evaluation.chexalign_report import render_chexalign
from vlmalign.records import Candidate, Judgement, Preference, read_manifest, read_records

SETTINGS = {"seed": 103, "jobs": 2, "preset": "quick"}
LOGIC = "peripheral_smear"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("chexalign") / "out"
    chexalign(out=out, **SETTINGS)
    return out


@pytest.fixture(scope="module")
def results(finished):
    return json.loads((finished / "results.json").read_text())


def steps_by_name(**given) -> dict[str, Step]:
    return {step.name: step for step in chexalign_steps(Study(Path("run"), LOGIC, "m", **given))}


@pytest.mark.parametrize(
    "given",
    [
        {"supervised": {}},
        {"cases": Path("c"), "supervised": {}},
        {"cases": Path("c"), "test_cases": Path("t"), "supervised": {}},
        {"cases": Path("c"), "test_cases": Path("t")},
    ],
)
def test_a_step_stands_behind_what_it_reads(given):
    written, known = {}, set()
    for step in chexalign_steps(Study(Path("run"), LOGIC, "m", **given)):
        assert known.issuperset(step.needs), step.name
        behind, more = set(), set(step.needs)
        while more:
            behind |= more
            more = {name for need in more for name in written_by(written)[need].needs} - behind
        for path in paths_of(step.config):
            source = next((w for w in written.values() if path.is_relative_to(w.config["out"])), None)
            assert source is None or source.name in behind, (step.name, path)
        written[step.name] = step
        known.add(step.name)


def written_by(steps):
    return {step.name: step for step in steps.values()}


def paths_of(value):
    """What a step reads below the run's folder."""
    if isinstance(value, dict):
        return [p for key, item in value.items() if key not in ("out", "cache") for p in paths_of(item)]
    if isinstance(value, list):
        return [p for item in value for p in paths_of(item)]
    return [Path(value)] if isinstance(value, str) and value.startswith("run/") else []


def test_the_five_losses_read_the_same_pairs_from_the_same_policy():
    steps = steps_by_name(supervised={})
    runs = [steps[name].config for name, arm in ARMS.items() if arm.score == "plain"]
    assert {run["loss"]["name"] for run in runs} == {"sigmoid", "length_controlled", "ipo", "kto", "orpo"}
    same = [{key: value for key, value in run.items() if key not in ("loss", "out")} for run in runs]
    assert all(run == same[0] for run in same)
    assert steps["dpo_by_length_controlled"].config["data"] != steps["dpo"].config["data"]


def test_the_control_gets_the_operations_of_dpo_and_its_samples_and_every_report():
    control = steps_by_name(supervised={}, align={"epochs": 2, "learning_rate": 1e-4})["sft_more"].config
    assert control["like"] == "run/arms/dpo" and control["plus"] == ["run/candidates"]
    assert control["data"] == ["run/reports/labelled", "run/reports/train"]
    assert "epochs" not in control and control["learning_rate"] == 1e-4


def test_a_model_that_writes_reports_already_is_sampled_as_it_is():
    steps = steps_by_name(cases=Path("c"), test_cases=Path("t"))
    assert "sft" not in steps and "source" not in steps and "split" not in steps
    assert steps["candidates"].config["model"] == steps["dpo"].config["model"] == "m"
    assert steps["answers_sft"].config["model"] == "m" and steps["answers_sft"].config["cases"] == "t"


def test_every_arm_has_its_figures_with_interval_and_n_and_a_difference_to_the_control(results):
    assert set(results["arms"]) == set(ANSWERED)
    assert set(results["against_control"]) == set(ANSWERED) - {"sft_more"}
    n = results["counts"]["test"]["cases"]
    for figures in results["arms"].values():
        for name in (
            "report_agreement",
            "length_controlled",
            "words",
            "words_ratio",
            "words_over_start",
            "invalid",
        ):
            assert figures[name]["n"] + figures[name]["excluded"] == n
        assert sum(figures["invalid_reasons"].values()) == round(figures["invalid"]["mean"] * n)
        assert figures["report_agreement"]["excluded"] == sum(figures["invalid_reasons"].values())
    assert results["arms"]["sft"]["words_over_start"]["mean"] == 1.0


def test_figures_recompute_from_the_files(finished, results):
    reports = read_records(finished / "answers" / "kto", Candidate)
    scores = read_records(finished / "agreement" / "kto", Judgement)
    figures = results["arms"]["kto"]
    assert figures["words"]["mean"] == pytest.approx(fmean(len(c.text.split()) for c in reports))
    valid = [j.components["length_controlled"] for j in scores if j.valid]
    assert figures["length_controlled"]["mean"] == (pytest.approx(fmean(valid)) if valid else None)


def test_pairs_are_best_over_worst_by_each_score_and_ties_are_counted(finished, results):
    judged = {j.candidate_ids[0]: j for j in read_records(finished / "judgements", Judgement)}
    for name, value in (
        ("plain", lambda j: j.score), ("length_controlled", lambda j: j.components["length_controlled"])
    ):  # fmt: skip
        pairs = read_records(finished / "pairs" / name, Preference)
        assert pairs and results["pairs"][name]["pairs"] == len(pairs)
        for pair in pairs:
            of_case = [value(j) for j in judged.values() if j.case_id == pair.case_id and j.valid]
            best, worst = (value(judged[pair.provenance[f"{side}_candidate"]]) for side in ("chosen", "rejected"))
            assert (best, worst) == (max(of_case), min(of_case)) and best - worst >= 0.1 - 1e-9
        counts = results["pairs"][name]["counts"]
        assert counts["ties"] > 0 and counts["cases_without_pair"] + len(pairs) == counts["cases"]


def test_where_no_finding_is_known_whole_reports_are_unknown_and_all_else_is_as_it_was(
    finished, results, tmp_path
):
    own = Study(
        finished, LOGIC, "m", cases=finished / "labels" / "train", test_cases=finished / "labels" / "test"
    )  # fmt: skip
    found = collect_chexalign(own, {**results["config"], "cases": "labels", "test_cases": "labels"})
    for arm, figures in found["arms"].items():
        was = results["arms"][arm]
        whole = figures.pop("whole_report_accuracy")
        assert whole["mean"] is None and whole["excluded"] == was["whole_report_accuracy"]["n"]
        assert figures == {name: figure for name, figure in was.items() if name != "whole_report_accuracy"}
        figures["whole_report_accuracy"] = whole
    page = render_chexalign(found, tmp_path / "report.html").read_text()
    assert "Whole report right, dpo" not in page and "Agreement, dpo minus sft_more" in page


def test_the_report_is_one_file_without_scripts_or_addresses(finished):
    page = (finished / "report.html").read_text()
    assert "Truer reports, or longer ones?" in page and "times the policy before" in page
    assert not re.search(r"<script|https?://(?!www\.w3\.org)", page)


def test_the_same_command_continues_to_the_same_and_another_is_refused(finished, results):
    shutil.rmtree(finished / "agreement" / "orpo")
    chexalign(out=finished, **{**SETTINGS, "jobs": 1})
    again = json.loads((finished / "results.json").read_text())
    assert again | {"seconds": None} == results | {"seconds": None}
    with pytest.raises(ValueError, match="holds a run of chexalign with other settings"):
        chexalign(out=finished, **{**SETTINGS, "min_gap": 0.2})


# -- a judge that is a language model -------------------------------------------------------------


NONE = "\n".join(f"({category.letter}) {category.name}: 0" for category in CATEGORIES)


class _Green(BaseHTTPRequestHandler):
    """It matches as many findings as the prompt's characters say, with one error; every seventh it declines."""

    def log_message(self, *args):
        pass

    def do_POST(self):
        asked = self.rfile.read(int(self.headers["content-length"]))
        number = sum(asked) % 7
        errors = NONE.replace("finding: 0", "finding: 1. one", 1)
        text = "I cannot." if number == 0 else (
            f"[Explanation]\nSo.\n[Clinically Significant Errors]\n{errors}\n[Clinically Insignificant Errors]\n"
            f"{NONE}\n[Matched Findings]\n{number}. {'; '.join(['x'] * number)}"
        )  # fmt: skip
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        reply = {
            "id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice],
            "usage": {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18},
        }  # fmt: skip
        data = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def endpoint():
    running = ThreadingHTTPServer(("127.0.0.1", 0), _Green)
    threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_address[1]}/v1"
    running.shutdown()
    running.server_close()


def green(url="http://127.0.0.1:1/v1", protocol="green", **more):
    judges = {"backend": "openai", "model": "m", "base_url": url}
    return {"protocol": {"name": protocol}, "judges": judges, **more}


def test_a_language_model_of_any_endpoint_judges_in_its_place(finished, endpoint, tmp_path):
    for folder in ("candidates", "labels"):
        shutil.copytree(finished / folder, tmp_path / folder)
    study = Study(tmp_path, LOGIC, "m", supervised={}, judge=green(endpoint))
    for step in chexalign_steps(study):
        if step.name in ("judge", "pairs_plain", "pairs_length_controlled"):
            run_stage(step.stage, step.config)
    judged = read_records(tmp_path / "judgements", Judgement)
    assert {j.criterion for j in judged} == {"green"} and any(not j.valid for j in judged)
    for name in ("plain", "length_controlled"):
        pairs = read_records(tmp_path / "pairs" / name, Preference)
        assert pairs and {pair.judge_ids for pair in pairs} == {(judged[0].judge,)}
        counts = read_manifest(tmp_path / "pairs" / name).counts
        assert counts["invalid"] >= sum(not j.valid for j in judged) - counts.get("duplicates", 0)


@pytest.mark.parametrize(
    ("stage", "config", "says"),
    [
        ("judge", green(protocol="pairwise"), "its protocol is 'pairwise', expected 'green'"),
        ("judge", green(pairs="p"), "it judges pairs"),
        ("sft", {}, "a recipe of stage 'sft', not of 'judge'"),
    ],
)
def test_a_judge_that_cannot_score_reports_is_refused_before_work_starts(stage, config, says, tmp_path):
    path = tmp_path / "judge.yaml"
    path.write_text(yaml.safe_dump({"stage": stage, "config": config}))
    with pytest.raises(StageError, match=says):
        chexalign(out=tmp_path / "out", judge=str(path))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"cases": Path()}, "cases is given without model"),
        ({"cases": Path(), "model": "m"}, "cases is given without logic"),
        ({"cases": Path("no/such"), "model": "m", "logic": "chest_xray"}, "no such folder"),
        ({"test_cases": Path()}, "test_cases is given without cases"),
        ({"logic": "chest_xray"}, "the phantoms are blood smears"),
        ({"n": 1}, "at least 2 reports"),
        ({"min_gap": 0}, "it must be positive"),
        ({"losses": {"dop": {}}}, "did you mean 'dpo'"),
        ({"losses": {"ipo": {"alpha": 1}}}, "alpha"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_work_starts(given, says, tmp_path):
    with pytest.raises((ValueError, FileNotFoundError, StageError), match=re.compile(says, re.IGNORECASE)):
        chexalign(out=tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()
