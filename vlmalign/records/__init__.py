"""The contracts: every type that crosses a stage, and its files on disk. Imports no torch."""

from vlmalign.records.base import Record
from vlmalign.records.build import DatasetBuild
from vlmalign.records.candidate import Candidate, Sampling
from vlmalign.records.case import Attributes, Case, Message, Reference, assistant, user
from vlmalign.records.errors import DataError
from vlmalign.records.finding import Finding, Region
from vlmalign.records.folder import RecordFolder, load_image, read_records
from vlmalign.records.image import ImageRef
from vlmalign.records.judgement import Judgement, Ranking
from vlmalign.records.manifest import Manifest, read_manifest
from vlmalign.records.preference import ChangedClaim, Demonstration, Preference

__all__ = [
    "Attributes",
    "Candidate",
    "Case",
    "ChangedClaim",
    "DataError",
    "DatasetBuild",
    "Demonstration",
    "Finding",
    "ImageRef",
    "Judgement",
    "Manifest",
    "Message",
    "Preference",
    "Ranking",
    "Record",
    "RecordFolder",
    "Reference",
    "Region",
    "Sampling",
    "assistant",
    "load_image",
    "read_manifest",
    "read_records",
    "user",
]
