"""`vlmalign build judge-pairs`, by command and by recipe."""

import pytest
from typer.testing import CliRunner

from vlmalign.cli.main import app
from vlmalign.cli.stages import run_stage
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
from vlmalign.records.suggestions import SettingsError


@pytest.fixture
def folders(tmp_path):
    from PIL import Image

    with DatasetBuild(tmp_path / "cases", "case", {}, data_use="open") as build:
        image = build.add_image(Image.new("L", (8, 8)))
        build.commit("c", [Case(id="c", images=(image,), messages=(user("Describe.", images=1),),
                                domain="chest_xray", group_id="g", group_kind="patient")])  # fmt: skip
    with DatasetBuild(tmp_path / "candidates", "candidate", {}, data_use="open") as build:
        for n in range(3):
            build.commit(str(n), [Candidate(
                id=f"c/{n}", case_id="c", messages=(assistant(f"Report {n}."),), policy="p",
                sampling=Sampling(max_new_tokens=8), seed=n,
            )])  # fmt: skip
    with DatasetBuild(tmp_path / "judged", "judgement", {}, data_use="open") as build:
        for n in range(3):
            build.commit(str(n), [Judgement(
                id=f"c/{n}/j", case_id="c", candidate_ids=(f"c/{n}",), criterion="green", judge="m/green@1",
                score=n / 2, components={"length_controlled": (2 - n) / 2},
            )])  # fmt: skip
    return {name: tmp_path / name for name in ("cases", "candidates")} | {
        "judgements": tmp_path / "judged", "out": tmp_path / "out",
    }  # fmt: skip


def test_the_command_makes_pairs_by_the_component_that_is_named(folders):
    given = [part for key, value in folders.items() for part in (f"--{key}", str(value))]
    more = ["--score", "length_controlled", "--set", "pairing.mode=all", "--set", "pairing.max_pairs=2"]
    done = CliRunner().invoke(app, ["build", "judge-pairs", *given, *more])
    assert done.exit_code == 0, done.output
    chosen = [pair.provenance["chosen_candidate"] for pair in read_records(folders["out"], Preference)]
    assert chosen == ["c/0", "c/0"]


def test_a_misspelt_setting_is_refused_before_anything_is_written(folders):
    with pytest.raises(SettingsError, match="pairing: .*min_margni.*Did you mean 'min_margin'"):
        run_stage("judge-pairs", {**folders, "pairing": {"min_margni": 0.2}})
    assert not folders["out"].exists()
