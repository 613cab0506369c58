"""Where a command is to write is checked before it reads anything: the inputs named here do not exist."""

import pytest

COMMANDS = {
    "answers": "evaluate answers in --cases cases",
    "run": "evaluate run demo --source bccd --data in",
    "seeds": "evaluate seeds in other",
    "judge": "evaluate judge in",
    "injections": "evaluate injections in",
    "reward": "evaluate reward --judged one=in --pairs pairs",
    "best-of-n": "evaluate best-of-n --cases cases --proxy in --gold gold",
    "shortcuts": "evaluate shortcuts scalar --pairs in --out out",
    "critique-gate": "evaluate critique-gate --pairs pairs --own in --plain plain",
    "power": "evaluate power superiority --effect 0.1 --pilot in",
    "benchmark": "evaluate benchmark pope --predictions in",
    "lint": "evaluate lint in",
    "prompts": "evaluate prompts in",
    "tax": "evaluate tax in after",
    "compare": "compare in other",
}
PAGES = {
    "answers": "--report", "run": "--report", "reward": "--report", "best-of-n": "--plot", "benchmark": "--report",
    "tax": "--report", "compare": "--report",
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_figures_go_neither_over_a_folder_nor_over_what_they_are_made_from(refused, tmp_path, name):
    command = COMMANDS[name].split()
    refused(*command, "--json", tmp_path, says=f"--json {tmp_path}: this is a folder")
    refused(*command, "--json", "in", says="--json in: this would change the input in")


@pytest.mark.parametrize("name", PAGES)
def test_two_files_of_one_name_are_refused(refused, name):
    command = (*COMMANDS[name].split(), "--json", "x.svg", PAGES[name], "./x.svg")
    refused(*command, says=f"--json and {PAGES[name]} are both x.svg")


def test_a_checklist_may_lie_among_the_runs_that_it_tells_of_but_not_over_a_file_of_figures(refused, tmp_path):
    (tmp_path / "scores.json").write_text("{}")
    checklist = ("evaluate", "checklist", "mi-claim-gen", "scores.json")
    refused(*checklist, "--json", "scores.json", says="this would change the input scores.json")
    refused(*checklist, "--answers", "a.html", "--out", "a.html", says="this would change the input a.html")
    refused(*checklist, "--out", "scores.json/x.html", says="this would change the input scores.json")


@pytest.mark.parametrize("value", ["nan", "inf"])
@pytest.mark.parametrize(
    "command",
    [
        "power superiority --discordant 0.2 --effect", "power proportion --half-width 0.1 --share",
        "power equivalence --std 1 --margin", "power equivalence --margin 0.1 --std",
        "power superiority --effect 0.1 --std 1 --icc", "seeds a b --chance",
        "reward --judged a --pairs b --margin",
    ],
)  # fmt: skip
def test_a_setting_that_is_no_number_is_refused(refused, command, value):
    refused("evaluate", *command.split(), value, says=value)


def test_a_slack_that_explains_everything_is_refused(refused):
    refused("evaluate", "lint", "t.csv", "--slack", "inf", says="--slack is inf")
