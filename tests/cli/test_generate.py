"""`vlmalign generate`: deterministic, resumable, quiet."""

import shutil
import subprocess
import sys

from vlmalign.cli.generate import generate, policy_id
from vlmalign.records import Candidate, read_manifest, read_records

SAMPLING = ("--n", 2, "--max-new-tokens", 3, "--batch-size", 2)


def test_generate_writes_seeded_candidates_and_says_where(vlmalign, tiny, cases, tmp_path):
    result = vlmalign("generate", tiny, cases, "out", *SAMPLING, "--limit", 3)
    assert (result.code, result.out) == (0, "wrote out\n6 records: unfinished 6\n")
    answers = read_records(tmp_path / "out", Candidate)
    assert len(answers) == 6 and len({a.seed for a in answers}) == 6
    assert {a.policy for a in answers} == {policy_id(tiny)}
    assert read_manifest(tmp_path / "out").counts["megaflops"] > 0


def test_a_killed_generation_continues_and_ends_with_the_same_bytes(
    vlmalign, killed, tiny, cases, tmp_path, contents_of
):
    killed(2, "generate", tiny, cases, "killed", *SAMPLING)
    assert not (tmp_path / "killed" / "manifest.json").exists()
    assert vlmalign("generate", tiny, cases, "killed", *SAMPLING).code == 0
    assert vlmalign("generate", tiny, cases, "whole", *SAMPLING).code == 0
    assert contents_of(tmp_path / "killed") == contents_of(tmp_path / "whole")


def test_another_seed_gives_other_answers_and_another_batch_size_the_same(vlmalign, tiny, cases, tmp_path):
    def texts(name, *options):
        assert vlmalign("generate", tiny, cases, name, "--max-new-tokens", 4, "--n", 2, *options).code == 0
        return [a.messages[0].text for a in read_records(tmp_path / name, Candidate)]

    first = texts("a", "--batch-size", 6)
    assert texts("b", "--batch-size", 4) == first
    assert texts("c", "--seed", 1) != first


def test_other_settings_on_a_finished_folder_are_refused_and_named(vlmalign, refused, tiny, cases):
    assert vlmalign("generate", tiny, cases, "out", *SAMPLING, "--limit", 1).code == 0
    refused(
        "generate", tiny, cases, "out", *SAMPLING, "--limit", 2, says=["limit: 1 there, 2 here", "--overwrite"]
    )
    assert vlmalign("generate", tiny, cases, "out", *SAMPLING, "--limit", 2, "--overwrite").code == 0


def test_a_conversation_is_fed_its_own_answers(vlmalign, tiny, cases, tmp_path):
    concepts = ("--concept", "leukocyte", "--concept", "crowding")
    logic = ("--kind", "conversation", "--logic", "peripheral_smear")
    result = vlmalign("generate", tiny, cases, "out", *SAMPLING, "--limit", 1, *logic, *concepts)
    assert result.code == 0, result.err
    answer = read_records(tmp_path / "out", Candidate)[0]
    assert [m.role for m in answer.messages] == ["assistant", "user", "assistant"]
    assert answer.extra["concepts"] == ["leukocyte", "crowding"]


def test_grey_pictures_give_other_answers(tiny, cases, tmp_path):
    def likelihoods(name, blank):
        generate(tiny, cases, tmp_path / name, n=1, max_new_tokens=3, blank_images=blank)
        return [a.logp for a in read_records(tmp_path / name, Candidate)]

    assert likelihoods("seen", False) != likelihoods("blank", True)


def test_a_run_folder_stands_for_its_model(vlmalign, runs, cases, tmp_path):
    for name, model in (("run", runs["plain"]), ("model", runs["plain"] / "model")):
        assert vlmalign("generate", model, cases, name, *SAMPLING, "--limit", 1).code == 0
    one, other = (read_records(tmp_path / name, Candidate) for name in ("run", "model"))
    assert one == other
    assert one[0].policy.startswith("plain@")


def test_a_run_that_is_not_complete_is_refused(refused, runs, cases, tmp_path):
    shutil.copytree(runs["plain"], tmp_path / "stopped")
    (tmp_path / "stopped" / "summary.json").unlink()
    refused("generate", "stopped", cases, "out", says=["stopped is a run that is not complete", "Run its command"])


def test_the_shipped_checkpoint_is_named_by_its_weights():
    from vlmalign.cli.generate import model_to_sample

    name, _, digest = policy_id(model_to_sample("builtin:smear-base")).partition("@")
    assert name == "smear-base" and len(digest) == 12


def test_a_model_of_the_hub_is_named_by_its_revision(monkeypatch):
    class Config:
        _commit_hash = "0123456789abcdef0123"

    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", lambda name, **_: Config())
    assert policy_id("owner/model") == "model@0123456789ab"


def test_a_log_file_gets_no_bars_and_no_warnings(recipe, tmp_path):
    """Loading, training and saving in a process of its own: what is printed depends on the order of imports."""
    arguments = ["sft", str(recipe(max_steps=1, lora={"rank": 2}))]
    command = [sys.executable, "-m", "vlmalign.cli.main", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"wrote {tmp_path / 'run'}\n"


def test_shards_of_a_generation_merge_to_the_bytes_of_the_whole(vlmalign, tiny, cases, tmp_path, contents_of):
    assert vlmalign("generate", tiny, cases, "whole", *SAMPLING, "--limit", 5).code == 0
    for k in (0, 1):
        assert (
            vlmalign("generate", tiny, cases, f"part-{k}", *SAMPLING, "--limit", 5, "--shard", f"{k}/2").code == 0
        )
    assert [read_manifest(tmp_path / f"part-{k}").counts["records"] for k in (0, 1)] == [4, 6]  # 1 and 2 batches
    assert vlmalign("data", "merge", "part-0", "part-1", "--shards", "--out", "merged").code == 0
    assert contents_of(tmp_path / "merged") == contents_of(tmp_path / "whole")
