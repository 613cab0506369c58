"""Rows of the arrays in an npz file, one after another: an archive of many gigabytes is never in memory as a
whole.

Only arrays of numbers are read; an array of objects would need pickle, and is refused.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from vlmalign.records import DataError

LARGEST_ROW = 1 << 28  # values


class NpzFile:
    """The arrays of one npz file by name, to be read row by row.

    Args:
        path: the file.

    Raises:
        DataError: not an npz file, or an array in it is of objects.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shapes: dict[str, tuple[int, ...]] = {}
        try:
            with zipfile.ZipFile(path) as archive:
                for name in sorted(archive.namelist()):
                    with archive.open(name) as file:
                        shape, dtype = self._header(name, file)
                    self.shapes[name.removesuffix(".npy")] = shape
                    del dtype
        except (OSError, zipfile.BadZipFile, ValueError, zlib.error, EOFError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"not an npz file of arrays ({error})", "Fetch it again.", file=path) from None

    def rows(self, name: str) -> Iterator[NDArray[Any]]:
        """The rows of one array, in order.

        Raises:
            DataError: the file is cut or damaged.
        """
        with zipfile.ZipFile(self.path) as archive, archive.open(f"{name}.npy") as file:
            shape, dtype = self._header(name, file)
            size = int(np.prod(shape[1:], dtype=np.int64))
            for number in range(shape[0]):
                try:
                    data = file.read(size * dtype.itemsize)
                except (OSError, zipfile.BadZipFile, zlib.error, EOFError) as error:
                    raise self._cut(name, number, str(error)) from None
                if len(data) < size * dtype.itemsize:
                    raise self._cut(name, number, "it ends here")
                yield np.frombuffer(data, dtype=dtype).reshape(shape[1:])

    def _cut(self, name: str, row: int, why: str) -> DataError:
        return DataError(
            f"array {name!r} cannot be read ({why})", "Fetch it again.", file=self.path, field=f"{row}"
        )

    def _header(self, name: str, file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
        version = np.lib.format.read_magic(file)  # type: ignore[no-untyped-call]
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_column, dtype = read(file)  # type: ignore[no-untyped-call]
        if dtype.hasobject or dtype.kind not in "biuf":
            raise DataError(
                f"array {name!r} holds {'objects, which only pickle could read' if dtype.hasobject else dtype}, "
                "no numbers",
                "Save it as numbers.",
                file=self.path,
            )
        if (
            by_column
            and len(shape) > 1
            or not shape
            or min(shape) < 0
            or int(np.prod(shape[1:], dtype=np.int64)) > LARGEST_ROW
        ):
            raise DataError(
                f"array {name!r} of shape {shape} cannot be read row by row", "Save it in C order.", file=self.path
            )
        return shape, dtype
