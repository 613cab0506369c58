"""One frame of a DICOM file as a picture of 8 bits: rescaled, windowed, and the right way round in grey.

Order of DICOM's grey pipeline (PS3.4 N.2): stored values, modality LUT or rescale, VOI LUT or window, then
inverted where the photometric interpretation is MONOCHROME1 (small values are white). Padding is black. Overlays
are never
drawn: they may hold names.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_builders.sources.case_writing import Unreadable
from data_builders.sources.grey_window import full_range, windowed

GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
LARGEST_FRAME = 1 << 28  # pixels
CODECS = "pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"


def pydicom_of(module: str = "pydicom") -> Any:
    """Import pydicom, or a module of it.

    Raises:
        ImportError: it is not installed; the message names the extra.
    """
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"the source `dicom` needs pydicom ({error}): pip install 'vlmalign[dicom]'") from None


def read_dicom(path: Path, *, pixels: bool = True) -> Any:
    """Read a file; its errors and warnings, which may quote names, are not passed on.

    Raises:
        Unreadable: not a DICOM file, or a damaged one.
    """
    pydicom = pydicom_of()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pydicom.dcmread(path, stop_before_pixels=not pixels)
    except Exception as error:  # pydicom raises what its parsing meets; only the kind of it is told
        missing = isinstance(error, FileNotFoundError)
        kind = "missing" if missing else "not_dicom"
        rule = "no such file" if missing else f"not a readable DICOM file ({type(error).__name__})"
        raise Unreadable.because(kind, rule, "Fetch it again, or move it out of the folder.", file=path) from None


def check_pixels(dataset: Any, path: Path) -> None:
    """Refuse what cannot become a picture, by its header alone.

    Raises:
        Unreadable: no pixels (kind `no_pixels`), an unknown photometric interpretation, a frame too large, or a
            transfer syntax whose codec is not installed (kind `missing_codec`).
    """
    if not all(isinstance(dataset.get(name), int) and dataset.get(name) > 0 for name in ("Rows", "Columns")):
        raise Unreadable.because("no_pixels", "the file holds no image", "Move it out of the folder.", file=path)
    if dataset.Rows * dataset.Columns > LARGEST_FRAME:
        raise Unreadable.because("too_large", "a frame has too many pixels", "Use a smaller level.", file=path)
    photometric = str(dataset.get("PhotometricInterpretation", ""))
    if photometric not in (*GREY, *COLOUR, "PALETTE COLOR"):
        raise Unreadable.because(
            "photometric", "the photometric interpretation is none that is known", "Convert the file.", file=path
        )
    syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
    if syntax is None:
        raise Unreadable.because("not_dicom", "the transfer syntax is not told", "Fetch it again.", file=path)
    if syntax.is_compressed and not _decodable(syntax):
        known = syntax.name if syntax.name != str(syntax) else "an unknown one"
        raise Unreadable.because(
            "missing_codec",
            f"the pixels are compressed ({known}), and no codec for that is installed",
            f"Install one: {CODECS}.",
            file=path,
        )


def _decodable(syntax: Any) -> bool:
    if syntax.name == "Deflated Explicit VR Little Endian":
        return True
    try:
        return bool(pydicom_of("pydicom.pixels").get_decoder(syntax).is_available)
    except NotImplementedError:
        return False


def frame_picture(path: Path, frame: int, window: tuple[float, float] | None = None) -> Image.Image:
    """One frame of a file as a picture (mode L or RGB).

    Args:
        path: the file.
        frame: from 0.
        window: centre and width that replace the file's own; in rescaled units.

    Raises:
        Unreadable: see `read_dicom` and `check_pixels`; or the pixels cannot be decoded (kind `undecodable`).
    """
    dataset = read_dicom(path)
    check_pixels(dataset, path)
    pixels = pydicom_of("pydicom.pixels")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stored = np.asarray(pixels.pixel_array(dataset, index=frame))
            if dataset.PhotometricInterpretation == "PALETTE COLOR":
                stored = _eight_bits(pixels.apply_color_lut(stored, dataset))
            elif dataset.PhotometricInterpretation in GREY:
                return Image.fromarray(_grey(dataset, stored, frame, window))
    except Unreadable:
        raise
    except Exception as error:  # as above: codecs raise anything, and only the kind of it is told
        raise Unreadable.because(
            "undecodable", f"the pixels cannot be decoded ({type(error).__name__})", "Fetch it again.", file=path
        ) from None
    return Image.fromarray(_eight_bits(stored))


def _grey(dataset: Any, stored: NDArray[Any], frame: int, window: tuple[float, float] | None) -> NDArray[np.uint8]:
    values = _rescaled(dataset, stored, frame)
    padded = _padding(dataset, stored)
    seen = values[~padded] if not padded.all() else values
    voi = group_item(dataset, frame, "FrameVOILUTSequence") or dataset
    centers, widths = (_first(voi.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if window is not None:
        grey = windowed(values, *window)
    elif voi.get("VOILUTSequence"):
        grey = _looked_up(values, voi.VOILUTSequence[0])
    elif centers is not None and widths is not None and widths >= 1:
        grey = windowed(values, centers, widths, str(voi.get("VOILUTFunction", "") or "LINEAR"))
    else:
        grey = full_range(values, float(seen.min()), float(seen.max()))
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        grey = 255 - grey
    return np.where(padded, 0, grey).astype(np.uint8)


def _looked_up(values: NDArray[np.float64], item: Any) -> NDArray[np.uint8]:
    """Values by a look-up table (PS3.3 C.11.2.1.1), held at its ends; its words have one byte or two."""
    entries, first, bits = (int(part) for part in item.LUTDescriptor)
    entries = entries or 65536
    data = item.LUTData
    if isinstance(data, bytes):
        table = np.frombuffer(data, dtype="<u2" if len(data) >= 2 * entries else "u1")
    else:
        table = np.asarray(data)
    index = np.clip(np.rint(values).astype(np.int64) - first, 0, entries - 1)
    return full_range(table[:entries][index].astype(np.float64), 0, 2**bits - 1)


def _rescaled(dataset: Any, stored: NDArray[Any], frame: int) -> NDArray[np.float64]:
    if dataset.get("ModalityLUTSequence"):
        return np.asarray(pydicom_of("pydicom.pixels").apply_modality_lut(stored, dataset), dtype=np.float64)
    item = group_item(dataset, frame, "PixelValueTransformationSequence") or dataset
    slope, intercept = _first(item.get("RescaleSlope")), _first(item.get("RescaleIntercept"))
    return stored.astype(np.float64) * (1.0 if slope is None else slope) + (intercept or 0.0)


def _padding(dataset: Any, stored: NDArray[Any]) -> NDArray[np.bool_]:
    low = dataset.get("PixelPaddingValue")
    if not isinstance(low, int):
        return np.zeros(stored.shape, dtype=bool)
    limit = dataset.get("PixelPaddingRangeLimit")
    ends = sorted((low, limit if isinstance(limit, int) else low))
    return (stored >= ends[0]) & (stored <= ends[1])


def _eight_bits(colour: NDArray[Any]) -> NDArray[np.uint8]:
    if colour.dtype == np.uint8:
        return colour
    return (colour >> (8 * colour.dtype.itemsize - 8)).astype(np.uint8)


def group_item(dataset: Any, frame: int, name: str) -> Any:
    """An item of the functional groups of an enhanced multi-frame file: the frame's own, else the shared one."""
    own, shared = (dataset.get(f"{kind}FunctionalGroupsSequence") or [] for kind in ("PerFrame", "Shared"))
    for item in (own[frame] if frame < len(own) else None, shared[0] if shared else None):
        if item is not None and item.get(name):
            return item.get(name)[0]
    return None


def _first(value: Any) -> float | None:
    """The first of one or several numbers; None where there is none."""
    try:
        if value is None or isinstance(value, (str, int, float)):
            return None if value in (None, "") else float(value)
        return float(value[0])
    except (TypeError, ValueError, IndexError):
        return None
