"""Bad input through the real commands: one message, exit code 2, nothing half-written."""

import contextlib
import errno
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest
from PIL import Image

from vlmalign.cli.failures import describe
from vlmalign.cli.pipeline import Step, run_pipeline
from vlmalign.cli.stages import STAGES, StageError, stage
from vlmalign.records import Case, read_records

NAME = "BloodImage_00002"
VLMALIGN = [sys.executable, "-m", "vlmalign.cli.main"]


def voc(filename, *boxes):
    objects = "".join(
        f"<object><name>RBC</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax>"
        "</bndbox></object>\n"
        for a, b, c, d in boxes
    )
    size = "<size><width>320</width><height>240</height></size>"
    return f"<annotation>\n<filename>{filename}</filename>\n{size}\n{objects}</annotation>\n"


@pytest.fixture
def photographs(tmp_path):
    """Three sound photographs with one box each."""
    data = tmp_path / "photographs"
    (data / "JPEGImages").mkdir(parents=True)
    (data / "Annotations").mkdir()
    for number in (1, 2, 3):
        name = f"BloodImage_0000{number}"
        pixels = np.random.default_rng(number).integers(0, 255, (240, 320, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(data / "JPEGImages" / f"{name}.jpg")
        (data / "Annotations" / f"{name}.xml").write_text(voc(f"{name}.jpg", (100, 100, 150, 150)))
    return data


def image_of(data):
    return data / "JPEGImages" / f"{NAME}.jpg"


def annotation_of(data):
    return data / "Annotations" / f"{NAME}.xml"


# -- folders ------------------------------------------------------------------------------------------


READERS = {
    "data stats": ("data", "stats", "{}"),
    "source split": ("source", "split", "{}", "out", "--role", "train=1"),
    "source build": ("source", "build", "bccd", "--data", "{}", "--out", "out"),
    "experts train": ("experts", "train", "{}", "out"),
    "experts run": ("experts", "run", "{}", "{}", "out"),
    "build prompts": ("build", "prompts", "--cases", "{}", "--out", "out"),
    "generate": ("generate", "builtin:smear-base", "{}", "out"),
    "generate from": ("generate", "{}", "{}", "out"),
    "score": ("score", "symbolic", "--set", "logic=peripheral_smear", "--pairs", "{}", "--out", "out"),
    "evaluate answers": ("evaluate", "answers", "{}", "--cases", "{}"),
    "evaluate run": ("evaluate", "run", "{}", "--source", "smear"),
    "demo": ("demo", "--source", "bccd", "--data", "{}", "--out", "out"),
    "export": ("export", "{}", "out"),
}


@pytest.mark.parametrize(
    ("verb", "folder"),
    [(verb, folder) for verb in READERS for folder in ("none", "empty") if (verb, folder) != ("demo", "empty")],
)
def test_a_missing_and_an_empty_folder_are_named_and_nothing_is_written(refused, tmp_path, verb, folder):
    (tmp_path / "empty").mkdir()
    refused(*(part.format(folder) for part in READERS[verb]), says=folder)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("key", ["data", "model"])
@pytest.mark.parametrize("verb", ["sft", "preview"])
def test_training_on_what_is_not_there_begins_no_run(refused, recipe, tmp_path, verb, key):
    missing = [str(tmp_path / "none")] if key == "data" else str(tmp_path / "none")
    refused(verb, recipe(**{key: missing}), says=["none", "heck the path"])
    assert not (tmp_path / "run").exists()


def test_a_mistyped_run_is_not_looked_for_on_the_hub(refused, recipe, tmp_path):
    (tmp_path / "runs").mkdir()
    refused("sft", recipe(model="runs/stf"), says="runs/stf is no folder")


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"HF_HUB_OFFLINE": "1"}, "the Hub is not asked as HF_HUB_OFFLINE is set"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "the Hub cannot be reached (ConnectError)"),
    ],
)
def test_a_name_that_may_be_the_hubs_is_refused_at_once_without_network(recipe, tmp_path, environment, says):
    command = [*VLMALIGN, "sft", str(recipe(model="nosuch/model"))]
    environment = {**os.environ, "HF_HUB_OFFLINE": "0", "NO_PROXY": "*", "HF_HOME": str(tmp_path), **environment}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    expected = f"error: nosuch/model: no such folder here, and {says}: check the path or the name.\n"
    assert (done.returncode, done.stderr) == (2, expected)
    assert not (tmp_path / "run").exists()


# -- photographs and annotations ----------------------------------------------------------------------


def truncated_jpeg(data):
    image_of(data).write_bytes(image_of(data).read_bytes()[:9000])
    return f"JPEGImages/{NAME}.jpg", "image file is truncated", "Fetch the file again"


def missing_image(data):
    image_of(data).unlink()
    return f"Annotations/{NAME}.xml, field 'filename'", f"'{NAME}.jpg', which is not in JPEGImages", "Restore"


def box_outside(data):
    annotation_of(data).write_text(voc(f"{NAME}.jpg", (300, 100, 330, 150)))
    return f"{NAME}.xml:4, field 'object[0].bndbox'", "leaves the picture of 320 x 240", "--on-bad skip"


def box_without_area(data):
    annotation_of(data).write_text(voc(f"{NAME}.jpg", (1, 1, 5, 5), (100, 100, 100, 150)))
    return f"{NAME}.xml:5, field 'object[1].bndbox'", "has no area", "--on-bad skip"


def second_annotation(data):
    shutil.copy(annotation_of(data), data / "Annotations" / "zzz.xml")
    return "zzz.xml, field 'filename'", "a second annotation", "Keep one XML file"


def malformed_xml(data):
    annotation_of(data).write_text("<annotation>\n<filename>")
    return f"{NAME}.xml:2", "malformed XML", "repair it"


def path_out_of_the_folder(data):
    annotation_of(data).write_text(voc(f"../JPEGImages/{NAME}.jpg"))
    return "field 'filename'", "which is not in JPEGImages", "remove the annotation"


@pytest.mark.parametrize(
    "damage",
    [truncated_jpeg, missing_image, box_outside, box_without_area, second_annotation, malformed_xml,
     path_out_of_the_folder],
)  # fmt: skip
def test_a_damaged_source_is_refused_before_anything_is_written(refused, photographs, tmp_path, damage):
    says = damage(photographs)
    refused("source", "build", "bccd", "--data", photographs, "--out", "cases", says=says)
    assert not (tmp_path / "cases").exists()


def test_bad_boxes_are_left_out_and_counted_on_request(vlmalign, photographs, tmp_path):
    box_without_area(photographs)
    result = vlmalign("source", "build", "bccd", "--data", photographs, "--on-bad", "skip", "--out", "cases")
    assert result.code == 0, result.err
    assert "bad_boxes 1" in vlmalign("data", "validate", "cases").out


# -- records ------------------------------------------------------------------------------------------


@pytest.fixture
def damaged(cases, tmp_path):
    """A copy of the cases whose third line is changed."""

    def copy(change):
        folder = tmp_path / "damaged"
        shutil.copytree(cases, folder)
        path = folder / "records.jsonl"
        lines = path.read_text().splitlines()
        lines[2] = change(lines)
        path.write_text("\n".join(lines) + "\n")
        return folder

    return copy


CHANGES = {
    "malformed": (lambda lines: lines[2][:70], ["damaged/records.jsonl:3", "Invalid JSON",
    "build the folder again"]),
    "duplicate": (lambda lines: lines[1], ["records.jsonl:3, record 'smear-0-0-1', field 'id'", "used on line 2"]),
    "dots": (
        lambda lines: lines[2].replace('"path":"images', '"path":"../images', 1),
        ["records.jsonl:3, record 'smear-0-1-0'", "'images.0.path'", "leaves the dataset folder"],
    ),
    "absolute": (
        lambda lines: lines[2].replace('"path":"images', '"path":"/images', 1),
        ["records.jsonl:3, record 'smear-0-1-0'", "'images.0.path'", "not relative to the dataset folder"],
    ),
    "unknown field": (
        lambda lines: '{"diagnosis":"AML",' + lines[2][1:],
        ["records.jsonl:3, record 'smear-0-1-0', field 'diagnosis'"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_bad_line_is_refused_by_every_reader_and_reported_by_validate(refused, vlmalign, damaged, tiny, name):
    change, says = CHANGES[name]
    folder = damaged(change)
    refused("build", "prompts", "--cases", folder, "--out", "out", says=says)
    assert not os.path.exists("out/manifest.json")
    refused("generate", tiny, folder, "answers", says=says)
    result = vlmalign("data", "validate", folder)
    assert result.code == 1
    assert all(words in result.err for words in says), result.err


def test_a_truncated_image_names_file_and_record_and_the_repaired_folder_continues(
    refused, vlmalign, cases, tiny, tmp_path, contents_of
):
    folder = tmp_path / "copy"
    shutil.copytree(cases, folder)
    image = folder / read_records(folder, Case)[4].images[0].path
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    command = ("--n", 1, "--max-new-tokens", 3, "--batch-size", 2)
    refused(
        "generate", tiny, folder, "out", *command, says=[image.name, "record 'smear-0-2-0'", "cannot be decoded"]
    )
    assert not (tmp_path / "out" / "manifest.json").exists()
    image.write_bytes(whole)
    assert vlmalign("generate", tiny, folder, "out", *command).code == 0
    assert vlmalign("generate", tiny, folder, "whole", *command).code == 0
    assert contents_of(tmp_path / "out") == contents_of(tmp_path / "whole")


def test_a_folder_that_is_read_or_holds_another_kind_is_never_written_over(
    refused, vlmalign, tmp_path, contents_of
):
    vlmalign("source", "build", "smear", "--out", "mine", "--set", "n_groups=1", "--set", "size=32")
    before, logic = contents_of(tmp_path / "mine"), ["--logic", "peripheral_smear", "--overwrite"]
    refused("build", "noisy-reports", "--cases", "mine", "--out", "./mine", *logic, says="cases and out are both")
    vlmalign("build", "noisy-reports", "--cases", "mine", "--out", "reports", *logic)
    says = "the folder holds case records, and this would write demonstration records"
    for options in (logic, logic[:-1]):
        refused("build", "demonstrations", "--cases", "reports", "--out", "mine", *options, says=says)
    expert = ("build", "templates", "--cases", "mine", "--findings", "found", *logic[:-1], "--out", "no")
    vlmalign("build", "known-findings", "--cases", "mine", "--out", "found")
    refused(*expert, "--min-probability", 3, says="min_probability is 3.0")
    assert not (tmp_path / "no").exists()
    assert contents_of(tmp_path / "mine") == before


def test_an_output_folder_of_other_things_is_named_as_such_by_a_source_with_keys(refused, tmp_path):
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text("picture\na.png\n")
    table = ["--set", "table=t.csv", "--set", "domain=chest_xray", "--set", "image=picture"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    says = "not empty and is not a dataset folder"
    refused("source", "build", "table", "--data", ".", "--out", "other", *table, says=says)
    refused("source", "build", "table", "--data", ".", "--out", ".", *table, says="data and out are both")


def test_two_folders_with_a_case_of_the_same_id_are_not_joined(refused, cases, tmp_path):
    command = ("build", "prompts", "--cases", cases, "--cases", cases, "--out", "out")
    refused(*command, says=["record 'smear-0-0-0', field 'id'", "duplicate id"])
    assert not (tmp_path / "out" / "manifest.json").exists()


# -- settings -----------------------------------------------------------------------------------------


def test_an_unknown_key_of_a_recipe_names_file_and_nearest_key(refused, recipe, tmp_path):
    for verb in ("sft", "preview", "recipes run"):
        refused(*verb.split(), recipe(epoch=1), says=["recipe.yaml", "unknown key 'epoch'", "'epochs'"])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"epochs": 1}, "epochs and max_steps given: set exactly one of them"),
        ({"max_steps": None}, "none of epochs, max_steps and max_flops"),
        ({"lora": {"rank": 2}, "freeze": ["vision"]}, "drop freeze"),
        ({"lora": {"rnk": 2}}, "unknown key 'lora.rnk'. Did you mean 'rank'"),
        ({"eval_steps": 2}, "eval_data is empty"),
        ({"learning_rate": "fast"}, "key 'learning_rate' is 'fast'"),
        ({"dtype": "float8"}, "'float32', 'mixed' or 'bfloat16'"),
    ],
)
def test_contradictory_and_impossible_settings_are_refused(refused, recipe, tmp_path, changes, says):
    refused("sft", recipe(**changes), says=["recipe.yaml", says])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("stage: [", "not valid YAML"),
        ("", "a recipe is a mapping"),
        ("{stage: sft, config: [1, 2]}", "key 'config': got [1, 2]"),
        ("{stage: sft, vars: 3, config: {}}", "key 'vars': got 3"),
        ("{stage: [sft], config: {}}", "key 'stage': got ['sft']"),
        ("{stage: dpo, config: {}}", "a recipe of stage 'dpo', not of 'sft'"),
        ("{stage: sft, config: {out: '${root}'}}", "names a variable that 'vars' does not define"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused_by_name(refused, tmp_path, text, says):
    (tmp_path / "mine.yaml").write_text(text)
    refused("sft", "mine.yaml", says=["mine.yaml", says])


def test_a_picture_given_for_a_recipe_is_refused_by_name(refused, tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "photo.png")
    refused("sft", "photo.png", says=["photo.png: not a text file"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--set", "n_group=1"], "unknown setting 'n_group'. Did you mean 'n_groups'?"),
        (["--set", "n_groups=many"], "'n_groups' is 'many'"),
        ([], "the setting 'n_groups' is missing. Add --set n_groups=VALUE"),
        (["--data", "."], "unknown setting 'data'"),
        (["--set", "n_groups"], "'n_groups': expected key=value"),
        (["--set", "n_groups=[1"], "not valid YAML"),
        (["--set", "a=1", "--set", "a.b=2"], "'a' was already given a plain value"),
    ],
)
def test_wrong_options_of_a_source_are_named(refused, tmp_path, arguments, says):
    refused("source", "build", "smear", "--out", "out", *arguments, says=says)
    assert not (tmp_path / "out").exists()


def test_a_source_that_reads_files_asks_for_them(refused):
    refused("source", "build", "bccd", "--out", "out", says="give their folder with --data DIR")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["score", "symbolic", "--out", "o", "--pairs", "p", "--set", "logi=x"], "reward 'symbolic'"),
        (["score", "symbolik", "--out", "o", "--pairs", "p"], "Did you mean 'symbolic'?"),
        (["score", "symbolic", "--out", "o"], "give either --cases and --candidates, or --pairs"),
        (["score", "symbolic", "--out", "o", "--pairs", "p", "--cases", "c"], "drop one of the two"),
        (["source", "split", "c", "o", "--role", "train=half"], "--role train=half: the share must be a number"),
        (["experts", "train", "c", "o", "--set", "epoch=1"], "expert settings: unknown setting 'epoch'"),
        (
            ["build", "symbolic", "--cases", "c", "--candidates", "c", "--out", "o", "--logic",
             "peripheral_smear", "--set", "pairing.margin=1"],
            "pairing: unknown setting 'margin'. Did you mean 'min_margin'?",
        ),
        (
            ["build", "demonstrations", "--cases", "c", "--out", "o", "--logic", "peripheral_smear",
             "--from-reference", "--findings", "f"],
            "from_reference and findings (f) are given: what is known comes from one of them. Drop --from",
        ),
        (["demo", "--source", "bccd"], "--source bccd needs --data"),
        (["demo", "--seeds", "0"], "both must be at least 1"),
    ],
)  # fmt: skip
def test_wrong_settings_of_other_verbs_are_named(refused, arguments, says):
    refused(*arguments, says=says)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--n", "0"], "n is 0"),
        (["--batch-size", "0"], "batch_size is 0"),
        (["--limit", "0"], "limit is 0"),
        (["--max-new-tokens", "-1"], "max_new_tokens is -1"),
        (["--temperature", "-1", "--n", "1"], "temperature is -1"),
        (["--temperature", "0"], "greedy answers are all the same, use n 1"),
        (["--top-p", "0"], "top_p is 0"),
        (["--kind", "conversation"], "pass --logic NAME"),
        (["--kind", "conversation", "--logic", "none"], "no clinical logic is named 'none'"),
        (
            ["--kind", "conversation", "--logic", "peripheral_smear", "--concept", "x"],
            "concept 'x' has no question",
        ),
        (["--logic", "peripheral_smear"], "kind is 'report'"),
    ],
)
def test_wrong_sampling_settings_are_refused_before_anything_is_loaded(refused, tmp_path, cases, arguments, says):
    refused("generate", "builtin:smear-base", cases, "out", *arguments, says=says)
    assert not (tmp_path / "out").exists()


# -- checkpoints --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoints(tiny, tmp_path_factory):
    """Folders that are no model of ours, by name."""
    from transformers import LlamaConfig, LlamaForCausalLM

    root = tmp_path_factory.mktemp("checkpoints")
    text_only = LlamaConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=300
    )
    LlamaForCausalLM(text_only).save_pretrained(root / "text_only")
    for name in ("exchanged", "cut", "no_processor", "no_weights"):
        shutil.copytree(tiny, root / name)
    shutil.copy(root / "text_only" / "model.safetensors", root / "exchanged")
    weights = root / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:20000])
    (root / "no_weights" / "model.safetensors").unlink()
    for file in (root / "no_processor").iterdir():
        if file.name not in ("config.json", "model.safetensors"):
            file.unlink()
    return root


SAYS = {
    "text_only": ["no image-text checkpoint", "LlamaConfig"],
    "exchanged": ["missing weights for LlavaForConditionalGeneration", "are of different models"],
    "cut": ["the weights in", "are damaged"],
    "no_processor": ["no loadable processor"],
    "no_weights": ["safetensors"],
}


@pytest.mark.parametrize("name", SAYS)
def test_a_checkpoint_that_does_not_fit_blocks_neither_folder_nor_run(
    refused, vlmalign, recipe, checkpoints, cases, tiny, tmp_path, name
):
    """It is named, and the corrected command needs no other folder and no --overwrite."""
    sampling = (cases, "out", "--n", 1, "--max-new-tokens", 2, "--limit", 1)
    refused("generate", checkpoints / name, *sampling, says=[name, *SAYS[name]])
    assert vlmalign("generate", tiny, *sampling).code == 0
    refused("sft", recipe(model=str(checkpoints / name)), says=[name, *SAYS[name]])
    if name == "text_only":
        assert vlmalign("sft", recipe()).code == 0
        assert (tmp_path / "run" / "summary.json").exists()


def test_another_run_is_not_touched_without_overwrite(refused, vlmalign, recipe, tmp_path):
    assert vlmalign("sft", recipe(max_steps=1)).code == 0
    refused("sft", recipe(max_steps=1, learning_rate=0.5), says=["holds another run", "learning_rate: 0.01 there"])
    assert vlmalign("sft", recipe(max_steps=1, learning_rate=0.5), "--overwrite").code == 0
    assert "0.5" in (tmp_path / "run" / "config.yaml").read_text()


def test_recipes_run_can_do_what_its_message_says(refused, vlmalign, recipe, tmp_path):
    assert vlmalign("recipes", "run", recipe(max_steps=1)).code == 0
    changed = recipe(max_steps=1, learning_rate=0.5)
    refused("recipes", "run", changed, says="pass --overwrite to replace it")
    assert vlmalign("recipes", "run", changed, "--overwrite").code == 0
    assert "0.5" in (tmp_path / "run" / "config.yaml").read_text()


def test_a_reward_model_that_is_asked_to_speak_is_pointed_to_score(refused, tiny, cases, recipe, tmp_path):
    shutil.copytree(tiny, tmp_path / "exp" / "model")
    (tmp_path / "exp" / "model" / "reward_head.safetensors").write_bytes(b"")
    says = (
        "exp/model holds a reward model, expected a language model: name another; to score answers with this one, "
    )
    refused("generate", "exp", cases, "out", says=says + "use `vlmalign score scalar --set run=exp`")
    refused("sft", recipe(model="exp/model"), says=says)
    assert not (tmp_path / "out").exists() and not (tmp_path / "run").exists()


def test_a_wrong_kind_of_record_begins_no_lasting_run(refused, vlmalign, recipe, cases):
    refused("sft", recipe(data=[str(cases)]), says="holds case records, not demonstration records")
    assert vlmalign("sft", recipe(max_steps=1)).code == 0


# -- kills and full disks -----------------------------------------------------------------------------


SMEAR = ("source", "build", "smear", "--set", "n_groups=5", "--set", "size=32", "--out")


def test_a_source_that_is_killed_twice_ends_with_the_same_bytes(vlmalign, killed, tmp_path, contents_of):
    killed(2, *SMEAR, "killed")
    killed(3, *SMEAR, "killed")
    assert not (tmp_path / "killed" / "manifest.json").exists()
    assert "manifest.json is missing" in vlmalign("data", "validate", "killed").err
    assert vlmalign(*SMEAR, "killed").code == 0
    assert vlmalign(*SMEAR, "whole").code == 0
    assert contents_of(tmp_path / "killed") == contents_of(tmp_path / "whole")


def test_a_derived_folder_that_is_killed_ends_with_the_same_bytes(vlmalign, killed, cases, tmp_path, contents_of):
    command = (
        "build",
        "demonstrations",
        "--cases",
        cases,
        "--logic",
        "peripheral_smear",
        "--from-reference",
        "--out",
    )
    killed(3, *command, "killed")
    assert vlmalign(*command, "killed").code == 0
    assert vlmalign(*command, "whole").code == 0
    assert contents_of(tmp_path / "killed") == contents_of(tmp_path / "whole")


def small_files(size=20_000):
    """No file may grow beyond so many bytes: the nearest to a full disk that needs no disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_disk_that_takes_no_more_is_named_and_nothing_is_lost(vlmalign, tmp_path, contents_of):
    done = subprocess.run(
        [*VLMALIGN, *SMEAR, "full"], cwd=tmp_path, preexec_fn=small_files, capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert "journal.jsonl: file too large. Free some space; the same command then continues" in done.stderr
    assert "Traceback" not in done.stderr
    assert vlmalign(*SMEAR, "full").code == 0
    assert vlmalign(*SMEAR, "whole").code == 0
    assert contents_of(tmp_path / "full") == contents_of(tmp_path / "whole")


def test_a_full_disk_in_the_middle_of_saving_a_model_leaves_an_unfinished_run_that_continues(
    refused, vlmalign, recipe, tmp_path, monkeypatch
):
    def full(*args, **rest):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "run" / "model"))

    with monkeypatch.context() as patch:
        patch.setattr("vlmalign.training.sft.save_vlm", full)
        refused(
            "sft",
            recipe(),
            says="run/model: no space left on device. Free some space; the same command then continues",
        )
    refused("export", "run", "exported", says="not complete")
    assert vlmalign("sft", recipe()).code == 0
    assert vlmalign("export", "run", "exported").code == 0


def test_control_c_says_that_the_same_command_continues(tmp_path, vlmalign):
    command = [*VLMALIGN, "source", "build", "smear", "--set", "n_groups=5000", "--out", "stopped"]
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a job in the background begins deaf to it
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, preexec_fn=heed)
    while not (tmp_path / "stopped" / "journal.jsonl").exists():
        assert process.poll() is None
        time.sleep(0.05)
    for _ in range(10):  # Python drops an interrupt that falls into a finaliser; one presses again
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
            break
    err = process.stderr.read()
    assert process.returncode == 130 and "stopped; the same command continues" in err
    # an interrupt that falls into one of Python's own callbacks is reported by Python, and dropped
    assert err.count("Traceback") == err.count("Exception ignored in")


def test_a_demo_with_corrected_data_starts_in_the_same_folder(refused, tmp_path, monkeypatch):
    """Until a stage has written something, the folder belongs to no settings."""

    def fail(steps, root, **rest):
        raise StageError(f"step 'source' failed: {steps[0].config['data']}: no photographs")

    monkeypatch.setattr("vlmalign.cli.pipeline.run_pipeline", fail)
    for name in ("wrong", "right"):
        (tmp_path / name).mkdir()
        refused("demo", "--source", "bccd", "--data", name, "--out", "out", says=f"{name}: no photographs")
    (tmp_path / "out" / "seed-0" / "source").mkdir(parents=True)
    says = ["data: 'right' there, 'wrong' here", "Choose another --out"]
    refused("demo", "--source", "bccd", "--data", "wrong", "--out", "out", says=says)


def test_a_step_of_the_demo_that_is_killed_says_that_the_same_command_continues(tmp_path, monkeypatch):
    monkeypatch.setattr("vlmalign.cli.pipeline._start_worker", _die)
    step = Step("sft", "sft", {})
    for jobs, less in ((1, False), (2, True)):
        with pytest.raises(
            StageError, match="'sft' failed: its process was killed.*same command continues"
        ) as error:
            run_pipeline([step], tmp_path, jobs=jobs, title="test")
        assert ("--jobs 1 needs less memory" in str(error.value)) == less


def _die(threads):
    os.kill(os.getpid(), signal.SIGKILL)


# -- what deserves a traceback ------------------------------------------------------------------------


def test_a_fault_of_the_program_keeps_its_traceback():
    assert describe(KeyError("x")) is None
    assert describe(AssertionError()) is None
    assert describe(TypeError("x")) is None


def test_system_errors_name_place_reason_and_remedy():
    assert describe(FileNotFoundError(errno.ENOENT, "No such file or directory", "a/b")) == (
        "a/b: no such file or directory. Check the path."
    )
    assert "right to write" in describe(PermissionError(errno.EACCES, "Permission denied", "a"))
    full = OSError(errno.ENOSPC, "No space left on device", "source", None, "target")
    assert describe(full) == "target: no space left on device. Free some space, then run the same command again."


def test_a_full_disk_only_promises_to_continue_where_a_stage_does(tmp_path):
    def fail(out):
        raise OSError(errno.ENOSPC, "No space left on device")

    for continues, says in ((True, "the same command then continues"), (False, "run the same command again")):
        with pytest.raises(OSError) as error:
            stage("full", continues=continues)(fail)(tmp_path)
        assert describe(error.value).startswith(f"{tmp_path}: no space left on device. Free some space")
        assert says in describe(error.value)
    del STAGES["full"]


@pytest.mark.parametrize(
    "arguments",
    [("export", "{plain}", "out"), ("export", "{lora}", "out"), ("recipes", "copy", "smear-sft", "out")],
)
def test_a_full_disk_while_a_copy_is_made_names_the_file_and_leaves_nothing(runs, tmp_path, arguments):
    command = [part.format(**runs) for part in arguments]
    limit = partial(small_files, 100)
    done = subprocess.run(
        [*VLMALIGN, *command], cwd=tmp_path, preexec_fn=limit, capture_output=True, text=True, check=False
    )
    file = "out" if "recipes" in arguments else r"out.partial/[\w.]+"
    says = rf"error: {file}: file too large. Free some space, then run the same command again.\n"
    assert re.fullmatch(says, done.stderr)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_while_pairs_are_exported_leaves_nothing(refused, tmp_path, monkeypatch):
    def full(folder, out):
        out.with_name("out.partial").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("vlmalign.data.trl_parquet.export_trl_parquet", full)
    refused(
        "data", "export-trl", "pairs", "out", says="out.partial: no space left on device. Free some space, then"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_step_of_the_demo_on_a_full_disk_names_the_folder_and_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr("vlmalign.cli.pipeline._start_worker", _little_space)
    step = Step("source", "source", {"name": "smear", "out": str(tmp_path / "cases"), "options": {"n_groups": 9}})
    with pytest.raises(
        StageError, match="step 'source' failed: .*cases.*: file too large. Free some space; the same"
    ):
        run_pipeline([step], tmp_path, jobs=1, title="test")


def _little_space(threads):
    small_files()
