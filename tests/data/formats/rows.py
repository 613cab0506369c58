"""Sound rows of each format; what they become is written out by hand in the tests."""

import json

from PIL import Image


def image_bytes(shade):
    import io

    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 10, 20)).save(buffer, "PNG")
    return buffer.getvalue()


def embedded(shade, path="patient-7.png"):
    return {"bytes": image_bytes(shade), "path": path}


def turn(role, text):
    return {"from": role, "value": text}


def said(role, text):
    return {"role": role, "content": text}


def typed(role, *parts):
    return {
        "role": role,
        "content": [{"type": "image", "text": None} if p is None else {"type": "text", "text": p} for p in parts],
    }


TRL = [
    {"images": ["pictures/0.png"], "prompt": [typed("user", None, "What is seen?")], "margin": 2,
     "chosen": [typed("assistant", "A cell.")], "rejected": [typed("assistant", "Two cells.")], "id": "a"},
    {"image": "pictures/1.png", "prompt": [said("system", "Be brief."), said("user", "What?")],
     "chosen": [said("assistant", "A.")], "rejected": "B.", "origin": {"set": "x", "n": [1, 2]}, "margin": None},
    {"images": ["pictures/0.png", "pictures/2.png"], "prompt": [typed("user", None, "first,", None, "second?")],
     "chosen": [said("assistant", "A.")], "rejected": [said("assistant", "B.")], "id": "a"},
    {"images": [], "prompt": "No picture?", "chosen": "Yes.", "rejected": "No.", "id": "7"},
]  # fmt: skip
LLAMA_FACTORY = [
    {"conversations": [turn("human", "<image>What is seen?")], "chosen": turn("gpt", "A cell."),
     "rejected": turn("gpt", "Two."), "images": ["pictures/0.png"]},
    {"conversations": [turn("system", "Be brief."), turn("human", "<image>\n<image>\nWhat?"), turn("gpt", "A "
    "cell."),
                       turn("human", "Where?")],
     "chosen": {**turn("gpt", "Left."), "weight": 1}, "rejected": turn("gpt", "Right."),
     "images": ["pictures/1.png", "pictures/2.png"], "origin": "x"},
    {"conversations": [turn("human", "No picture?")], "chosen": turn("gpt", "Yes."), "rejected": turn("gpt", ""
    "No."),
     "images": [], "system": "Be kind."},
    {"conversations": [turn("human", "Before <image> after")], "chosen": turn("gpt", "Yes."),
     "rejected": turn("gpt", "No."), "images": "pictures/3.png"},
]  # fmt: skip
MS_SWIFT = [
    {"messages": [said("user", "<image>What is seen?"), said("assistant", "A cell.")], "images": [""
    "pictures/0.png"],
     "rejected_response": "Two.", "margin": 1},
    {"messages": [said("system", "Be brief."), said("user", "<image>\nWhat?"), said("assistant", "A cell.")],
     "images": "pictures/1.png", "rejected_response": [said("assistant", "Two.")],
     "objects": {"ref": ["cell"], "bbox": [[1, 2, 3, 4]]}},
    {"messages": [{**said("user", "<image>What?"), "loss": None}, said("assistant", "A cell.")],
     "images": ["pictures/2.png"], "rejected_images": ["pictures/2.png"],
     "rejected_messages": [said("user", "<image>What?"), said("assistant", "Two.")]},
    {"messages": [said("user", "No picture?"), said("assistant", "Yes.")], "rejected_response": "No.",
     "margin": None},
]  # fmt: skip
LLAVA = [
    {"id": "1", "image": "pictures/0.png",
     "conversations": [turn("human", "<image>\nWhat?"), turn("gpt", "A cell.")]},
    {"id": 2, "image": ["pictures/1.png"], "model": "x", "conversations": [
        turn("human", "What?\n<image>"), turn("gpt", "A cell."), turn("human", "Where?"), turn("gpt", "Left.")]},
    {"id": "2", "image": ["pictures/1.png", "pictures/2.png"], "conversations": [
        turn("human", "<image><image>Both?"), turn("gpt", "Yes.")]},
    {"conversations": [turn("human", "No picture?"), turn("gpt", "Yes.")]},
]  # fmt: skip
LLAVA_RLHF = [
    {"id": "9", "image": ["pictures/0.png"], "conversations": [turn("human", "<image>\nWhat?")],
     "output_1": turn("gpt", "A cell."), "output_2": turn("gpt", "Two."), "preference": 1},
    {"id": "9", "image": "pictures/0.png", "preference": 2, "hallucination": True,
     "conversations": [turn("human", "<image>What?"), turn("gpt", "A cell."), turn("human", "Where?")],
     "output_1": "Right.", "output_2": turn("gpt", "Left.")},
]  # fmt: skip
RLAIF_V = [
    {"ds_name": "RLAIF-V", "image": embedded(0), "question": "What?", "chosen": "A cell.", "rejected": "Two.",
     "origin_dataset": "x", "origin_split": '{"model": "m"}', "idx": "0", "image_path": "x.jpg"},
    {"ds_name": "RLAIF-V", "image": embedded(40), "question": "<image>\nWhat?", "chosen": "A <image>.",
     "rejected": "Two.", "origin_dataset": None, "origin_split": None, "idx": "0", "image_path": None},
]  # fmt: skip
RLHF_V = [
    {"ds_name": "RLHF-V", "image": embedded(0), "idx": 0, "origin_dataset": "x",
     "text": json.dumps({"rejected": "Two.", "question": "What?", "chosen": "A cell."})},
    {"ds_name": "RLHF-V", "image": embedded(40), "idx": 1, "origin_dataset": "x",
     "text": json.dumps({"rejected": "Zwölf.", "question": "What?", "chosen": "Zwei.", "note": "é"})},
]  # fmt: skip
MM_RLHF = [
    {"image": ["pictures/0.png"], "prompt": "What?", "chosen": "A cell.", "rejected": "Two.", "is_tie": False,
     "chosen_reason": "Right.", "rejected_reason": None, "ls_factor": 1.0},
    {"image": ["pictures/1.png", "pictures/2.png"], "prompt": "<image>\n<image>\nBoth?", "chosen": "Yes.",
     "rejected": "No.", "ls_factor": 0.5, "mixed_up_image": 0, "reference_chosen_logp": -3.5},
    {"prompt": "No picture?", "chosen": "Yes.", "rejected": "No."},
]  # fmt: skip
VL_REWARDBENCH = [
    {"id": "v1", "query": "What?", "image": embedded(0), "response": ["A cell.", "Two."], "human_ranking": [0, 1],
     "models": ["m", "n"], "judge": None, "rationale": "one is seen", "human_error_analysis": [""]},
    {"id": "v2", "query": "<image>\nWhat?", "image": embedded(40),
     "response": ["Two.", "A cell."], "human_ranking": [1, 0],
     "models": ["n", "m"], "judge": None, "rationale": "one is seen", "human_error_analysis": [""]},
]  # fmt: skip

ROWS = {
    "trl": TRL, "llama-factory": LLAMA_FACTORY, "ms-swift": MS_SWIFT, "llava": LLAVA, "llava-rlhf": LLAVA_RLHF,
    "rlaif-v": RLAIF_V, "rlhf-v": RLHF_V, "mm-rlhf": MM_RLHF, "vl-rewardbench": VL_REWARDBENCH,
}  # fmt: skip
#: how each is published
CONTAINERS = {name: "parquet" if name in ("rlaif-v", "rlhf-v", "vl-rewardbench") else "jsonl" for name in ROWS}
