"""ProfileDocument: what `batchlab profile --json` prints, and how it is read on another machine.

The raw blocks travel with it; what can be computed from them is written for scripts and not read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from batchlab.errors import ProfileError
from batchlab.profiling.profile_point import ProfilePoint, Stopped
from batchlab.records.estimate import Estimate
from batchlab.records.json_document import SCHEMA
from batchlab.records.reason import Reason
from batchlab.records.step_timing import StepTiming
from batchlab.records.trial import Status
from batchlab.version import __version__
from batchlab.words.document import document_text, plain, reason_of

if TYPE_CHECKING:
    from batchlab.profiling.profile import Profile

Kind = TypeVar("Kind")
Point = TypeVar("Point")

_WHAT_TO_DO = "make it again with: batchlab profile --json"


class ProfiledWorkload(msgspec.Struct, frozen=True, kw_only=True):
    """What was profiled; `batch_size` is its own reference."""

    workload_id: str
    name: str
    n_train: int
    batch_size: int


class _Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What is both written and read of a batch size."""

    batch_size: int
    micro_batch_size: int
    status: Status
    reason: object
    timing: StepTiming | None
    peak_bytes: int | None
    again: tuple[StepTiming, ...] = ()
    gpu_peak_bytes: int | None = None
    with_evaluations: bool = False


class PointDocument(_Tried, frozen=True, kw_only=True):
    """One batch size that was tried; `timing` and `again` hold the raw blocks of each process."""

    reason: Reason | None
    accumulation_steps: int | None = None
    threads: int | None = None
    step_s: Estimate | None = None
    samples_per_s: float | None = None
    drifted: bool | None = None


class NotRunDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A batch size that has not run in one piece here, with what the memory law gives it."""

    batch_size: int
    predicted_bytes: Estimate


class MemoryDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The memory law: fixed_bytes + bytes_per_example × batch size."""

    fixed_bytes: Estimate
    bytes_per_example: Estimate


class StepTimeDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The step-time law: (overhead_s^p + (s_per_example × batch size)^p)^(1/p), p the sharpness."""

    overhead_s: Estimate
    s_per_example: Estimate
    knee_batch_size: Estimate
    sharpness: Estimate


class _Profiled(msgspec.Struct, Generic[Point], frozen=True, kw_only=True):
    """What is both written and read of a profile: all that cannot be computed."""

    schema: int
    command: str
    batchlab: str
    workload: ProfiledWorkload
    device: str
    device_name: str
    memory_limit_bytes: int | None
    environment: dict[str, str]
    created_at: str
    points: tuple[Point, ...]
    stopped: Stopped | None


class ProfileDocument(_Profiled[PointDocument], frozen=True, kw_only=True):
    """A profile: step time and memory by batch size on one device.

    `process_log_sd` is how far the step times of one batch size lie apart from process to process:
    the standard deviation of their logarithm.
    """

    process_log_sd: float | None = None
    largest_batch_size: int | None = None
    plateau_batch_size: int | None = None
    memory: MemoryDocument | None = None
    not_run: tuple[NotRunDocument, ...] = ()
    step_time: StepTimeDocument | None = None


class _ReadPoint(_Tried, frozen=True, kw_only=True):
    """What is read back of a batch size: its reason by code and values, not by its text."""

    reason: str | None
    reason_code: str | None = None
    reason_values: dict[str, Any] | None = None


_Read = _Profiled[_ReadPoint]
_DECODER = msgspec.json.Decoder(_Read)


class _Kind(msgspec.Struct):
    """What tells a document of another command or version before its fields are looked at."""

    schema: int
    command: str


def to_json(profile: Profile) -> str:
    """The document as JSON text; times in seconds, memory in bytes, unknown is null."""
    return document_text(_document(profile))


def to_dict(profile: Profile) -> dict[str, Any]:
    """The document as plain dicts, lists and numbers."""
    made: dict[str, Any] = plain(_document(profile))
    return made


def from_json(text: str | bytes, kind: type[Profile]) -> Profile:
    """The profile that a document holds, checked.

    Raises:
        ProfileError: naming the field that is missing or impossible.
    """
    try:
        _check_kind(msgspec.json.decode(text, type=_Kind))
        document = _DECODER.decode(text)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ProfileError(f"this is no profile of batchlab: {error}; {_WHAT_TO_DO}") from error
    return _checked(_profile(document, kind))


def from_dict(document: Mapping[str, Any], kind: type[Profile]) -> Profile:
    """The profile that a document holds, checked.

    Raises:
        ProfileError: naming the field that is missing or impossible.
    """
    try:
        text = msgspec.json.encode(document)
    except TypeError as error:
        raise ProfileError(f"this is no profile of batchlab: {error}; {_WHAT_TO_DO}") from error
    return from_json(text, kind)


def _document(profile: Profile) -> ProfileDocument:
    scatter = profile.process_scatter
    return ProfileDocument(
        schema=SCHEMA,
        command="profile",
        batchlab=__version__,
        workload=ProfiledWorkload(
            workload_id=profile.workload_id,
            name=profile.workload,
            n_train=profile.n_train,
            batch_size=profile.reference_batch_size,
        ),
        device=profile.device,
        device_name=profile.device_name,
        memory_limit_bytes=profile.memory_limit_bytes,
        environment=dict(profile.environment),
        created_at=profile.created_at,
        points=tuple(_point_document(profile, point) for point in profile.points),
        stopped=profile.stopped,
        process_log_sd=None if scatter is None else scatter.log_sd,
        largest_batch_size=profile.largest_batch_size,
        plateau_batch_size=profile.plateau_batch_size,
        memory=_filled(MemoryDocument, profile.memory),
        not_run=tuple(
            NotRunDocument(batch_size=size, predicted_bytes=predicted)
            for size, predicted in profile.not_run_bytes.items()
        ),
        step_time=None
        if profile.step_time is None
        else _filled(StepTimeDocument, profile.step_time),
    )


def _point_document(profile: Profile, point: ProfilePoint) -> PointDocument:
    return msgspec.structs.replace(
        _filled(PointDocument, point),
        threads=None if point.timing is None else point.timing.threads,
        step_s=profile.told_s(point),
    )


def _filled(kind: type[Kind], record: object) -> Kind:
    """A `kind` with the attributes of `record` that have the names of its fields."""
    return msgspec.convert(record, kind, from_attributes=True)


def _point(point: _ReadPoint) -> ProfilePoint:
    return ProfilePoint(
        batch_size=point.batch_size,
        micro_batch_size=point.micro_batch_size,
        status=point.status,
        reason=reason_of(point.reason, point.reason_code, point.reason_values),
        timing=point.timing,
        peak_bytes=point.peak_bytes,
        again=point.again,
        gpu_peak_bytes=point.gpu_peak_bytes,
        with_evaluations=point.with_evaluations,
    )


def _profile(document: _Read, kind: type[Profile]) -> Profile:
    return kind(
        workload_id=document.workload.workload_id,
        workload=document.workload.name,
        n_train=document.workload.n_train,
        reference_batch_size=document.workload.batch_size,
        device=document.device,
        device_name=document.device_name,
        memory_limit_bytes=document.memory_limit_bytes,
        environment=tuple(document.environment.items()),
        created_at=document.created_at,
        points=tuple(_point(point) for point in document.points),
        stopped=document.stopped,
    )


def _check_kind(kind: _Kind) -> None:
    if kind.command != "profile":
        raise ProfileError(
            f"this document is of `batchlab {kind.command}`, not of `batchlab profile`; give a "
            f"file made with: batchlab profile --json"
        )
    if kind.schema != SCHEMA:
        raise ProfileError(
            f"this profile has schema {kind.schema}; batchlab {__version__} reads schema {SCHEMA}: "
            f"use the batchlab that made it, or {_WHAT_TO_DO}"
        )


def _checked(profile: Profile) -> Profile:
    """The profile, unless a number of it is impossible."""
    for found in _impossible(profile):
        raise ProfileError(f"this profile is damaged: {found}; {_WHAT_TO_DO}")
    return profile


def _impossible(profile: Profile) -> Iterator[str]:
    if profile.n_train < 1:
        yield f"workload.n_train is {profile.n_train}, expected at least 1"
    if profile.reference_batch_size < 1:
        yield f"workload.batch_size is {profile.reference_batch_size}, expected at least 1"
    if profile.memory_limit_bytes is not None and profile.memory_limit_bytes < 1:
        yield f"memory_limit_bytes is {profile.memory_limit_bytes}, expected at least 1"
    seen: set[tuple[int, int]] = set()
    for index, point in enumerate(profile.points):
        shape = (point.batch_size, point.micro_batch_size)
        for found in _impossible_point(point, profile.n_train):
            yield f"points[{index}].{found}"
        if shape in seen:
            yield f"points[{index}] repeats batch size {shape[0]} in pieces of {shape[1]}"
        seen.add(shape)


def _impossible_point(point: ProfilePoint, n_train: int) -> Iterator[str]:
    if not 1 <= point.batch_size <= n_train:
        yield f"batch_size is {point.batch_size}, expected 1 to {n_train}"
    if not 1 <= point.micro_batch_size <= point.batch_size:
        yield f"micro_batch_size is {point.micro_batch_size}, expected 1 to {point.batch_size}"
    for name in ("peak_bytes", "gpu_peak_bytes"):
        n_bytes = getattr(point, name)
        if n_bytes is not None and n_bytes < 0:
            yield f"{name} is {n_bytes}, expected at least 0"
    if point.status is Status.OK and point.timing is None:
        yield "timing is missing, though its status is ok"
    if point.timing is None and point.again:
        yield "again is there and timing is missing"
    if point.timing is not None:
        for found in _impossible_timing(point.timing, point):
            yield f"timing.{found}"
    for index, timing in enumerate(point.again):
        for found in _impossible_timing(timing, point):
            yield f"again[{index}].{found}"


def _impossible_timing(timing: StepTiming, point: ProfilePoint) -> Iterator[str]:
    for name in ("batch_size", "micro_batch_size"):
        if getattr(timing, name) != getattr(point, name):
            yield f"{name} is {getattr(timing, name)}, but its point's is {getattr(point, name)}"
    for name in ("threads", "block_steps"):
        if getattr(timing, name) < 1:
            yield f"{name} is {getattr(timing, name)}, expected at least 1"
    if not timing.block_s:
        yield "block_s is empty, expected the seconds of at least one block"
    for name in ("warmup_s", "block_s"):
        for value_s in getattr(timing, name):
            if not (math.isfinite(value_s) and value_s > 0):
                yield f"{name} holds {value_s}, expected seconds above 0"
