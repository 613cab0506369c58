"""Judge prompts as files: a header with name and version, then the prompt in Jinja2."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import yaml
from jinja2.sandbox import SandboxedEnvironment
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vlmalign.records.hashing import sha256_bytes
from vlmalign.records.suggestions import SettingsError, hint

_HEADER = re.compile(r"\A\s*\{#-?\s*\n(.*?)\n\s*-?#\}[ \t]*\n?", re.DOTALL)


class _Header(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, pattern=r"^[a-z][a-z0-9_-]*$")
    version: int = Field(ge=1)
    about: str = ""


@dataclass(frozen=True)
class JudgeTemplate:
    """A prompt's file, read and compiled.

    Attributes:
        name: from its header.
        version: from its header; the author raises it with every change of meaning.
        sha256: of the file's bytes, so that a change without a new version is seen.
    """

    name: str
    version: int
    sha256: str
    _compiled: jinja2.Template

    @property
    def id(self) -> str:
        """Name and version, e.g. `pairwise@1`."""
        return f"{self.name}@{self.version}"

    def render(self, values: Mapping[str, Any]) -> str:
        """Fill the template in; the values are inserted as they are and never read as a template.

        Raises:
            SettingsError: the template uses a value that is not given.
        """
        try:
            return self._compiled.render(values).strip()
        except jinja2.TemplateError as error:
            raise SettingsError(
                f"judge template {self.id}: {error}. It may use: {', '.join(sorted(values))}."
            ) from None


def shipped_templates() -> list[str]:
    """Names of the templates that come with the package."""
    folder = resources.files("data_builders.judges") / "templates"
    return sorted(entry.name.removesuffix(".j2") for entry in folder.iterdir() if entry.name.endswith(".j2"))


def load_template(name: str | Path) -> JudgeTemplate:
    """Load a template that is shipped, by its name, or a file of your own, by its path (ending in `.j2`).

    The file begins with a comment that holds YAML: `name`, `version` and, if wanted, `about`.

    Args:
        name: e.g. `pairwise`, or a path.

    Raises:
        SettingsError: no such template, a header that is missing or wrong, or a syntax error with its line.

    Example:
        >>> load_template("pairwise").id
        'pairwise@1'
        >>> "green" in shipped_templates()
        True
    """
    where = f"judge template {str(name)!r}"
    if str(name).endswith(".j2"):
        path = Path(name)
        if not path.is_file():
            raise SettingsError(f"{where}: no such file. Check the path.")
        data = path.read_bytes()
    else:
        known = shipped_templates()
        if name not in known:
            raise SettingsError(f"{where}: there is none. {hint(str(name), known)}")
        data = (resources.files("data_builders.judges") / "templates" / f"{name}.j2").read_bytes()
    text = data.decode("utf-8")
    header = _read_header(text, where)
    environment = SandboxedEnvironment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    try:
        compiled = environment.from_string(text)
    except jinja2.TemplateSyntaxError as error:
        raise SettingsError(f"{where}: line {error.lineno}: {error.message}. Correct the template.") from None
    return JudgeTemplate(header.name, header.version, sha256_bytes(data), compiled)


def _read_header(text: str, where: str) -> _Header:
    rule = "it must begin with a comment {# ... #} that holds `name: ...` and `version: ...`, each on its own line"
    found = _HEADER.match(text)
    if found is None:
        raise SettingsError(f"{where}: no header: {rule}.")
    try:
        return _Header.model_validate(yaml.safe_load(found.group(1)))
    except (yaml.YAMLError, ValidationError) as error:
        why = error.errors()[0] if isinstance(error, ValidationError) else None
        told = " ".join(str(error).split()) if why is None else f"{'.'.join(map(str, why['loc']))}: {why['msg']}"
        raise SettingsError(f"{where}: header: {told}; {rule}.") from None
