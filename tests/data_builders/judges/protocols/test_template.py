"""Templates: versioned, strict, packaged."""

import tomllib
from pathlib import Path

import pytest

from data_builders.judges.pairwise import Pairwise
from data_builders.judges.template import load_template, shipped_templates
from vlmalign.records.hashing import sha256_file
from vlmalign.records.suggestions import SettingsError


def test_every_shipped_template_has_a_header_that_names_it():
    assert {load_template(name).name for name in shipped_templates()} == set(shipped_templates())


def test_an_own_template_is_named_and_hashed_in_every_record(tmp_path, item, script, judged):
    own = tmp_path / "mine.j2"
    own.write_text("{#\nname: mine\nversion: 3\n#}\n{{ answers.A }} or {{ answers.B }}?")
    judge = script("Short.\nVERDICT: A")
    for judgement in judged(Pairwise(template=str(own)), item("x", "y"), judge):
        assert judgement.extra["prompt"] == "mine@3"
        assert judgement.extra["prompts"]["mine@3"] == sha256_file(own)
    assert judge.requests[0].prompt == "mine@3"
    assert judge.prompts[0].endswith("or <<<ANSWER B" + judge.prompts[0].rpartition("<<<ANSWER B")[2])


def test_a_value_that_is_not_given_is_an_error_not_an_empty_text(tmp_path, item, script, judged):
    own = tmp_path / "mine.j2"
    own.write_text("{#\nname: mine\nversion: 1\n#}\n{{ answer_a }}")
    with pytest.raises(SettingsError, match="mine@1: 'answer_a' is undefined. It may use: answers, "):
        judged(Pairwise(template=str(own)), item("x", "y"), script(""))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no header", "no header: it must begin with a comment"),
        ("{#\nname: x\n#}", "header: version: Field required"),
        ("{#\nname: x\nversion: one\n#}", "header: version: Input should be a valid integer"),
        ("{#\nname: [\n#}", "header: while parsing"),
        ("{#\nname: x\nversion: 1\n#}\n\n{% if %}", "line 6: Expected an expression"),
    ],
)
def test_a_broken_template_is_named_with_what_is_wrong(tmp_path, text, message):
    (tmp_path / "x.j2").write_text(text)
    with pytest.raises(SettingsError, match=message):
        load_template(tmp_path / "x.j2")


def test_an_unknown_template_is_answered_with_the_nearest_one(tmp_path):
    with pytest.raises(SettingsError, match="'pairwize': there is none. Did you mean 'pairwise'?"):
        load_template("pairwize")
    with pytest.raises(SettingsError, match="no such file"):
        load_template(tmp_path / "x.j2")


def test_answers_are_never_read_as_templates(item, script, judged):
    judge = script("Short.\nVERDICT: A")
    judged(Pairwise(), item("{{ 7 * 7 }}{% for x in y %}", "y"), judge)
    assert "| {{ 7 * 7 }}{% for x in y %}" in judge.prompts[0]


def test_an_own_template_cannot_reach_the_interpreter(tmp_path):
    (tmp_path / "x.j2").write_text("{#\nname: x\nversion: 1\n#}\n{{ ''.__class__.__mro__ }}")
    with pytest.raises(SettingsError, match="unsafe"):
        load_template(tmp_path / "x.j2").render({})


def test_the_wheel_takes_the_templates_along():
    """hatch packs every file of a package that git does not ignore; no pattern may leave them out."""
    root = Path(__file__).resolve().parents[4]
    wheel = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel == {"packages": ["vlmalign", "experts", "data_builders"]}
    assert "j2" not in (root / ".gitignore").read_text()
