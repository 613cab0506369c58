"""`vlmalign best-of-n` and `vlmalign evaluate best-of-n`: picks, counts, curves."""

import json

import pytest

from vlmalign.records import Candidate, Case, DatasetBuild, Sampling, assistant, read_records


@pytest.fixture
def candidates(cases, tmp_path):
    """Four answers to each of the six cases."""
    with DatasetBuild(tmp_path / "candidates", "candidate", {}) as build:
        for case in read_records(cases, Case):
            build.commit(case.id, [Candidate(
                id=f"{case.id}/{k}", case_id=case.id, policy="p@1", seed=k, messages=(assistant(f"Answer {k}."),),
                sampling=Sampling(max_new_tokens=9, sample=k),
            ) for k in range(4)])  # fmt: skip
    return tmp_path / "candidates"


@pytest.fixture
def judged(cases, candidates, tmp_path):
    """Write judgements by a function of the answer's number."""
    from vlmalign.records import Judgement

    def write(name, score):
        with DatasetBuild(tmp_path / name, "judgement", {"name": name}) as build:
            for candidate in read_records(candidates, Candidate):
                build.commit(candidate.id, [Judgement(
                    id=candidate.id, case_id=candidate.case_id, candidate_ids=(candidate.id,), criterion=name,
                    judge=f"{name}@1", score=score(candidate.sampling.sample),
                )])  # fmt: skip
        return tmp_path / name

    return write


def test_the_best_are_written_and_the_same_command_does_nothing(vlmalign, candidates, judged, tmp_path):
    command = ("best-of-n", candidates, "--judged", judged("proxy", float), "--out", "best", "--n", "3")
    first, second = vlmalign(*command), vlmalign(*command)
    assert first.out.startswith("wrote best\n6 records: cases 6, picked 6"), first
    assert second.out.startswith("best was complete already")
    assert {c.sampling.sample for c in read_records(tmp_path / "best", Candidate)} == {2}


def test_pessimism_is_refused_where_no_std_is_known(refused, candidates, judged):
    command = ("best-of-n", candidates, "--judged", judged("proxy", float), "--out", "best", "--pessimism", "1")
    refused(*command, says=["without a standard deviation", "drop pessimism"])


def test_a_curve_of_proxy_and_gold_is_told_drawn_and_written(vlmalign, cases, candidates, judged, tmp_path):
    proxy, gold = judged("proxy", float), judged("gold", lambda k: [0.3, 0.5, 1.0, 0.0][k])
    command = ("evaluate", "best-of-n", "--cases", cases, "--proxy", proxy, "--gold", gold)
    result = vlmalign(*command, "--json", "curve.json", "--plot", "curve.svg")
    assert result.code == 0, result.err
    found = json.loads((tmp_path / "curve.json").read_text())
    assert [point["n"] for point in found["points"]] == [1, 2, 4]
    assert found["points"][2]["gold"]["mean"] == 0.0 and found["points"][2]["proxy"]["mean"] == 3.0
    assert found["points"][1]["gold"]["n_groups"] == 3
    assert "verdict" in result.out and "best of N by proxy@1, held against gold@1" in result.out
    assert (tmp_path / "curve.svg").read_bytes().startswith(b"<?xml")


def test_a_plot_of_another_kind_and_judgements_without_common_candidates_are_refused(
    refused, cases, judged, pair_folders
):
    proxy = judged("proxy", float)
    command = ("evaluate", "best-of-n", "--cases", cases, "--proxy", proxy, "--gold")
    refused(*command, proxy, "--plot", "curve.pdf", says="ends on .svg or .png")
    refused(*command, pair_folders.judged("other", {"x/0": 1.0}), says="judged by both proxy and gold")


def test_a_proxy_is_no_gold_and_files_that_cannot_be_written_are_refused_first(refused, cases, judged, tmp_path):
    proxy, gold = judged("proxy", float), judged("gold", float)
    command = ("evaluate", "best-of-n", "--cases", cases, "--proxy", proxy, "--gold")
    refused(*command, proxy, says="gold is decided by proxy@1, who is the proxy or behind it")
    refused(*command, gold, "--json", tmp_path, says="this is a folder")
    refused(*command, gold, "--json", "x.svg", "--plot", "x.svg", says="are both x.svg")
