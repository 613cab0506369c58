"""The official MedMNIST sets (Yang et al. 2023): what their labels mean and where their pictures belong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from data_builders.sources.nih_cxr14 import CONCEPTS

Task = Literal["binary-class", "multi-class", "ordinal-regression", "multi-label, binary-class"]
MULTI_LABEL: Task = "multi-label, binary-class"


@dataclass(frozen=True)
class Flag:
    """One set: its task, the names of its labels in order, its modality and its logic's domain."""

    task: Task
    labels: tuple[str, ...]
    modality: str
    domain: str
    child: bool = False


_ORGANS = (
    "bladder", "femur_left", "femur_right", "heart", "kidney_left", "kidney_right", "liver", "lung_left", ""
    "lung_right",
    "pancreas", "spleen",
)  # fmt: skip
_CHEST = (
    "atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule", "pneumonia", "pneumothorax",
    "consolidation", "edema", "emphysema", "fibrosis", "pleural", "hernia",
)  # fmt: skip
FLAGS: dict[str, Flag] = {
    "pathmnist": Flag(
        "multi-class",
        ("adipose", "background", "debris", "lymphocytes", "mucus", "smooth_muscle", "normal_colon_mucosa",
         "cancer_associated_stroma", "colorectal_adenocarcinoma_epithelium"),
        "histology", "pathmnist",
    ),
    "chestmnist": Flag(MULTI_LABEL, _CHEST, "xray", "chest_xray"),
    "dermamnist": Flag(
        "multi-class",
        ("actinic_keratosis", "basal_cell_carcinoma", "benign_keratosis", "dermatofibroma", "melanoma",
         "melanocytic_nevus", "vascular_lesion"),
        "dermatoscopy", "dermamnist",
    ),
    "octmnist": Flag(
        "multi-class",
        ("choroidal_neovascularization", "diabetic_macular_edema", "drusen", "normal"), "oct", "octmnist",
    ),
    "pneumoniamnist": Flag("binary-class", ("normal", "pneumonia"), "xray", "chest_xray", child=True),
    "retinamnist": Flag("ordinal-regression", ("0", "1", "2", "3", "4"), "fundus", "retinamnist"),
    "breastmnist": Flag("binary-class", ("malignant", "normal_or_benign"), "ultrasound", "breastmnist"),
    "bloodmnist": Flag(
        "multi-class",
        ("basophil", "eosinophil", "erythroblast", "immature_granulocyte", "lymphocyte", "monocyte", "neutrophil",
         "platelet"),
        "light_microscopy", "bloodmnist",
    ),
    "tissuemnist": Flag(
        "multi-class",
        ("collecting_duct_connecting_tubule", "distal_convoluted_tubule", "glomerular_endothelial_cells",
         "interstitial_endothelial_cells", "leukocytes", "podocytes", "proximal_tubule_segments",
         "thick_ascending_limb"),
        "fluorescence_microscopy", "tissuemnist",
    ),
    "organamnist": Flag("multi-class", _ORGANS, "ct", "organamnist"),
    "organcmnist": Flag("multi-class", _ORGANS, "ct", "organcmnist"),
    "organsmnist": Flag("multi-class", _ORGANS, "ct", "organsmnist"),
    "organmnist3d": Flag(
        "multi-class",
        ("liver", "kidney_right", "kidney_left", "femur_right", "femur_left", "bladder", "heart", "lung_right",
         "lung_left", "spleen", "pancreas"),
        "ct", "organmnist3d",
    ),
    "nodulemnist3d": Flag("binary-class", ("benign", "malignant"), "ct", "nodulemnist3d"),
    "adrenalmnist3d": Flag("binary-class", ("normal", "hyperplasia"), "ct", "adrenalmnist3d"),
    "fracturemnist3d": Flag(
        "multi-class",
        ("buckle_rib_fracture", "nondisplaced_rib_fracture", "displaced_rib_fracture"), "ct", "fracturemnist3d",
    ),
    "vesselmnist3d": Flag("binary-class", ("vessel", "aneurysm"), "mra", "vesselmnist3d"),
    "synapsemnist3d": Flag("binary-class", ("inhibitory", "excitatory"), "electron_microscopy", "synapsemnist3d"),
}  # fmt: skip

#: ChestMNIST's labels -> concept of the logic, and whether its absence is the concept's absence
CHEST_CONCEPTS = {
    ("effusion" if name == "Effusion" else "pleural" if name == "Pleural_Thickening" else name.lower()): concept
    for name, concept in CONCEPTS.items()
}
