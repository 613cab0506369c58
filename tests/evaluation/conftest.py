import io

import numpy as np
import pytest
from PIL import Image

from vlmalign.clinical import derive, load_logic
from vlmalign.evaluation import CaseTruth
from vlmalign.records import Candidate, Sampling, assistant, user

ARMS = {"sft_more": 0.14, "sft_clean": 0.28, "sft_best_of_n": 0.3, "sft_edited": 0.52, "dpo": 0.41,
        "dpo_shuffled": 0.12, "expert_only": 0.38}  # fmt: skip


@pytest.fixture(scope="session")
def logic():
    return load_logic("peripheral_smear")


@pytest.fixture
def truth(logic):
    answers = {"focus": "sharp", "stain": "pale", "leukocyte": "present", "leukocyte_kind": "segmented",
               "crowding": "moderate", "platelets": "few"}  # fmt: skip
    return CaseTruth("c1", "slide-1", derive(logic, answers))


@pytest.fixture
def candidate():
    """Build a candidate of case c1 from the assistant's texts; questions stand between them."""

    def build(*texts, **fields):
        turns = [assistant(texts[0])]
        for text in texts[1:]:
            turns += [user("Next question?"), assistant(text)]
        sampling = Sampling(temperature=0, max_new_tokens=64)
        defaults = {"id": "c1/0", "case_id": "c1", "policy": "p@1", "sampling": sampling, "seed": 0, "tokens": 40}
        return Candidate(messages=tuple(turns), **{**defaults, **fields})

    return build


@pytest.fixture
def picture():
    buffer = io.BytesIO()
    rng = np.random.default_rng(0)
    grid = np.hypot(*np.mgrid[-48:48, -48:48])
    pixels = np.stack([230 - 60 * (grid < 30), 190 - 90 * (grid < 30), 200 - 40 * (grid < 14)], -1)
    Image.fromarray((pixels + rng.normal(0, 6, pixels.shape)).clip(0, 255).astype("uint8")).save(buffer, "PNG")
    return buffer.getvalue()


def made_up_score(mean, half, n=480, excluded=0, groups=24):
    return {"mean": mean, "low": mean - half, "high": mean + half, "n": n, "excluded": excluded,
            "n_groups": groups, "method": "t, 23 df, over 24 groups"}  # fmt: skip


def made_up_arm(whole):
    shares = {"whole_report_accuracy": whole, "question_accuracy": 0.5 + whole / 2, "balanced_accuracy": 0.48,
              "conversation_accuracy": whole * 0.8, "in_scope_accuracy": 0.6 + whole / 2,
              "out_of_scope_accuracy": 0.71, "unsupported_known": 0.3 * (1 - whole), "unsupported_unknown": 0.15,
              "omissions": 0.08, "path_consistency": 0.93, "invalid_rate": 0.02}  # fmt: skip
    arm = {name: made_up_score(mean, 0.02 if mean < 0.05 else 0.04) for name, mean in shares.items()}
    arm["path_consistency"]["excluded"] = 9
    return {**arm, "answer_tokens": made_up_score(61.3, 2.4)}


@pytest.fixture
def results():
    """A whole results.json with made-up figures."""
    differences = {"dpo_minus_sft_more": (0.27, 0.07, "benefit"),
                   "dpo_minus_sft_best_of_n": (0.03, 0.062, "undecided"),
                   "dpo_minus_sft_edited": (-0.11, 0.06, "harm"),
                   "dpo_shuffled_minus_sft_more": (0.01, 0.04, "undecided"),
                   "dpo_shuffled_minus_sft_more_in_scope": (-0.004, 0.014, "none above 2 points")}  # fmt: skip
    curve = {
        str(n): {
            "reward": made_up_score(0.3 + 0.05 * i, 0.04),
            "random": made_up_score(0.3, 0.03),
            "oracle": made_up_score(0.3 + 0.11 * i, 0.04),
        }
        for i, n in enumerate((1, 2, 4, 8))
    }
    ties = made_up_score(0.0, 0.0)
    return {
        "arms": {name: made_up_arm(whole) for name, whole in ARMS.items()},
        "sampled": {name: made_up_arm(whole * 0.8) for name, whole in ARMS.items() if name != "expert_only"},
        "baselines": {
            "majority_class": {m: s for m, s in made_up_arm(0.06).items() if m != "answer_tokens"},
            "random": {m: s for m, s in made_up_arm(0.03).items() if m != "answer_tokens"},
        },
        "comparisons": {
            name: {**made_up_score(mean, half), "conclusion": said}
            for name, (mean, half, said) in differences.items()
        },
        "dpo_against_sft_more": {
            name: made_up_score(mean, 0.02)
            for name, mean in {
                **dict.fromkeys(made_up_arm(0.1), 0.01),
                "path_consistency": -0.05,
                "omissions": 0.04,
                "whole_report_accuracy": 0.27,
                "answer_tokens": -1.2,
            }.items()
        },
        "reward_model": {
            "role_swapped": {**made_up_score(0.81, 0.05, n=200), "ties": made_up_score(0.01, 0.01)},
            "role_swapped_blanked": {**made_up_score(0.5, 0.0, n=200), "ties": ties},
            "seen_minus_blanked": made_up_score(0.31, 0.05, n=200),
            "best_of_n": curve,
        },
        "expert": {"dice": made_up_score(0.86, 0.02), "count_mae": made_up_score(0.64, 0.11)},
        "seconds": {"source": 12.1, "expert": 61.0, "sft": 80.2, "generate": 44.0, "dpo": 91.7, "evaluate": 38.5},
        "flops": {"sft": 3.1e12, "generate": 0.8e12, "dpo": 3.9e12},
        "n_groups": {"expert": 16, "labelled": 6, "unlabelled": 18, "test": 24},
        "seed": 7,
        "versions": {"vlmalign": "0.1.0", "torch": "2.14.1", "transformers": "5.23.0"},
        "source": "smear",
        "counts": {"pairs": {"kept": 611, "tied": 82, "invalid_candidates": 31}, "uncertain_findings": 104},
        "config": {"dpo": {"beta": 0.1, "learning_rate": 0.0003}},
    }
