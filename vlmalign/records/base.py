"""What every record shares: frozen, closed to unknown fields, and written as one canonical line."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    """A value inside a record: frozen, and closed to unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Record(Part):
    """Base of every type that crosses a stage."""

    id: str = Field(min_length=1, max_length=200, description="unique within its dataset folder")
    extra: dict[str, Any] = Field(
        default_factory=dict, description="fields of foreign formats, kept and never interpreted"
    )

    def to_line(self) -> str:
        """Canonical JSON: sorted keys, no spaces, defaults left out, so equal records are equal bytes."""
        return json.dumps(
            self.model_dump(mode="json", exclude_defaults=True),
            sort_keys=True,
            ensure_ascii=False,
            separators=(",", ":"),
        )
