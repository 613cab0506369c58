"""Lines, tubes and pacemakers of a phantom chest film."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data_builders.sources.cxr_anatomy import MIDDLE, SIGN, Chest, Course
from data_builders.sources.cxr_film import Film, soft
from data_builders.sources.cxr_scene import Scene


def draw_devices(film: Film, scene: Scene, chest: Chest) -> None:
    """Draw the devices of a film over everything else, and mark each one."""
    dome = chest.domes["left"]
    if "airway" in scene.devices:
        course = np.array([[MIDDLE + 1, 0], [MIDDLE, chest.row(0.24, "right")]])
        film.device("airway", course, 2.6, 0.60)
    if "gastric" in scene.devices:
        t = np.linspace(0, 1, 30)[:, None]
        points = np.array(
            [[MIDDLE - 2, 0], [MIDDLE + 1, dome - 40], [MIDDLE + 4, dome + 12], [MIDDLE + 34, dome + 22]]
        )
        film.device("gastric", _bezier(points, t), 1.5, 0.50)
    if "central_line" in scene.devices:
        vein = MIDDLE - chest.mediastinum * 0.8
        points = np.array(
            [[MIDDLE - 30, 0], [MIDDLE - 24, 14], [vein - 4, chest.apex + 10], [vein, chest.row(0.42, "right")]]
        )
        film.device("central_line", _bezier(points, np.linspace(0, 1, 30)[:, None]), 1.3, 0.6)
    if "chest" in scene.devices:
        sign, half = SIGN[scene.chest_tube], chest.half_widths[scene.chest_tube]
        row = chest.row(0.68, scene.chest_tube)
        points = np.array(
            [[half + 24, row + 14], [half - 6, row], [0.75 * half, row - 40], [0.5 * half, chest.apex + 14]]
        )
        points[:, 0] = MIDDLE + sign * points[:, 0]
        film.device("chest", _bezier(points, np.linspace(0, 1, 30)[:, None]), 2.6, 0.45)
    if "cardiac_device" in scene.devices:
        x0, y0 = MIDDLE + 0.62 * chest.half_widths["left"], chest.apex + 17
        box = 8 - np.maximum(np.abs(film.x - x0), np.abs(film.y - y0) * 1.1)
        box = np.minimum(box, 10.5 - np.abs(film.x - x0) * 0.7 - np.abs(film.y - y0) * 0.75)
        film.density += 1.7 * soft(box)
        film.claim("cardiac_device", soft(box))
        start, vein = [x0 - 6, y0 - 4], MIDDLE - chest.mediastinum * 0.6
        low = chest.heart_bottom - 12
        for end in ([MIDDLE - 0.24 * chest.heart_width, low - 18], [MIDDLE + 0.3 * chest.heart_width, low]):
            bend = [start, [vein + 6, chest.apex + 2], [vein - 10, chest.heart_top + 34], end]
            film.device("cardiac_device", _bezier(np.array(bend), np.linspace(0, 1, 40)[:, None]), 1.3, 0.55)


def _bezier(points: Course, t: NDArray[np.float64]) -> Course:
    weights = np.concatenate([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], axis=1)
    return np.asarray(weights @ points)
