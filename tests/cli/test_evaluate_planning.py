"""`vlmalign evaluate power`, `seeds` and `prompts`."""

import json

import pytest

from vlmalign.records import DatasetBuild, Judgement


def test_power_tells_the_number_or_what_a_number_reaches_and_what_it_rests_on(vlmalign, tmp_path):
    asked = ("evaluate", "power", "superiority", "--effect", "0.05", "--discordant", "0.25")
    result = vlmalign(*asked, "--json", "p.json")
    assert result.code == 0, result.err
    assert "superiority: 779 patients" in result.out and "no item is excluded" in result.out
    found = json.loads((tmp_path / "p.json").read_text())
    assert found["groups"] == 779 and found["given"] == "power"
    given = vlmalign(*asked, "--groups", "100")
    assert given.code == 0 and "100 patients (100 items), power 0.1" in given.out
    share = vlmalign("evaluate", "power", "proportion", "--share", "0.8", "--half-width", "0.05")
    assert share.code == 0 and "half width of the interval 0.050" in share.out


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("proportion --share 0.8", "needs one of --half-width or --groups: 0 are given"),
        ("proportion --share 0.8 --half-width 0.1 --margin 0.1", "--margin does not go with proportion"),
        ("superiority --effect 0.1", "needs one of --discordant or --std or --pilot"),
        ("superiority --discordant 0.1", "superiority needs --effect"),
        ("superiority --effect 0.1 --std 1 --margin 0.1", "--margin does not go with superiority"),
        ("superiority --effect 0.3 --discordant 0.1", "|difference| <= discordant"),
        ("non-inferiority --std 1", "non-inferiority needs --margin"),
        ("non-inferiority --std 1 --margin -1", "--margin is -1.0: expected more than 0"),
        ("equivalence --std 1 --margin 0.1 --groups 9 --power 0.9", "--groups and --power are both given"),
        ("equivalence --pilot x.csv --margin 0.1 --icc 0.1", "--icc and --pilot are both given"),
        ("equivalence --std 1 --margin 0.1 --alpha 0.7", "--alpha is 0.7"),
    ],
)
def test_options_that_do_not_fit_the_question_are_refused(refused, given, told):
    refused("evaluate", "power", *given.split(), says=told)


def test_seeds_are_compared_figure_by_figure(vlmalign, refused, tmp_path):
    for k in range(3):
        score = {"mean": 0.5 + k / 50, "low": 0.4, "high": 0.6, "n": 9, "excluded": 0}
        (tmp_path / f"{k}.json").write_text(json.dumps({"seed": k, "arms": {"dpo": {"f1": score, "x": score}}}))
    runs = ("0.json", "1.json", "2.json")
    result = vlmalign("evaluate", "seeds", *runs, "--metric", "f1", "--chance", "0.5", "--json", "s.json")
    assert result.code == 0, result.err
    figures = json.loads((tmp_path / "s.json").read_text())["figures"]
    assert list(figures) == ["arms.dpo.f1"] and figures["arms.dpo.f1"]["above_chance"] == pytest.approx(1)
    assert "0.02 (0.0104 to 0.126)" in result.out
    refused("evaluate", "seeds", "0.json", "0.json", says="a run is given twice")
    refused("evaluate", "seeds", *runs, "--chance", "x=y", says="expected a number")


def judged(out, scores, first):
    with DatasetBuild(out, "judgement", {}) as build:
        for k, value in enumerate(scores, first):
            build.commit(str(k), [Judgement(id=f"s{k}", case_id=f"c{k}", candidate_ids=(f"c{k}/0",), score=value,
                                            criterion="helpful", judge="j@1")])  # fmt: skip
    return out


def test_prompts_are_compared_from_folders_of_judgements_as_from_a_table(vlmalign, refused, tmp_path):
    runs, lines = [], ["task,model,prompt,split,item,score"]
    wanted = {"a/p": ([1, 1], [1] * 30), "a/q": ([0, 0], [0] * 30), "b/p": ([0, 1], [0] * 30)}
    for place, (validation, test) in wanted.items():
        model, prompt = place.split("/")
        for split, scores, first in (("validation", validation, 0), ("test", test, 2)):
            folder = judged(tmp_path / f"{model}{prompt}{split}", scores, first)
            runs += ["--run", f"{model}/vqa/{prompt}/{split}={folder}"]
            lines += [f"vqa,{model},{prompt},{split},c{k},{x}" for k, x in enumerate(scores, first)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    table = vlmalign("evaluate", "prompts", "t.csv", "--json", "t.json")
    assert table.code == 0, table.err
    assert "no test item chose any" in table.out and "p minus q" in table.out
    assert vlmalign("evaluate", "prompts", *runs, "--json", "r.json").code == 0
    found = json.loads((tmp_path / "r.json").read_text())
    assert found == json.loads((tmp_path / "t.json").read_text())
    assert found["tested"]["win"] == 1 and found["tasks"]["vqa"]["prompts"] == ["p", "p"]
    refused("evaluate", "prompts", "t.csv", *runs, says="and not both")
    refused("evaluate", "prompts", "--run", "a/b=c", says="expected MODEL/TASK/PROMPT/SPLIT=FOLDER")
    refused("evaluate", "prompts", "t.csv", "--models", "a", says="expected two different ones")
    refused("evaluate", "prompts", "t.csv", "--metric", "f1", says="go with --run")
