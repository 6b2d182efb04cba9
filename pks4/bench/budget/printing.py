"""A cost on paper, for people (table and remarks) and for programs (JSON)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pks4.bench.budget.budget import NOT_COUNTED, Cost, Speed, decoders
from pks4.bench.budget.data_size import DataSize
from pks4.bench.units import MISSING, scale_for, significant
from pks4.macs import RULE

GIGABYTE = 1e9


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """The assumptions of a cost: speed of a GPU, and times of readers."""

    speed: Speed
    sources: tuple[str, ...]  # of peak and utilisation
    readers: Mapping[tuple[str, int], float]  # seconds of a clip by reader and frames; may be none
    readers_file: str = ""


def table(
    priced: Sequence[Cost], assumed: Assumptions
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns and rows: one row a training, and their sum."""
    speed = assumed.speed
    step = scale_for((cost.clip_macs_train for cost in priced), "MAC")
    whole = scale_for((cost.training_macs + cost.scoring_macs for cost in priced), "MAC")
    columns = (
        "training", "clips", f"step of a clip, {step.symbol}", f"training, {whole.symbol}",
        f"scoring, {whole.symbol}", "GPU hours", "clips/s a GPU", "frames/s a GPU",
        *(("decoders a GPU",) if assumed.readers else ()),
    )  # fmt: skip
    rows = [
        (
            cost.cell,
            f"{cost.clips_trained:,}",
            step.text(cost.clip_macs_train),
            whole.text(cost.training_macs),
            whole.text(cost.scoring_macs),
            significant(cost.gpu_hours(speed)),
            significant(cost.clips_per_second(speed)),
            significant(cost.frames_per_second(speed)),
            *((_number(decoders(cost, speed, assumed.readers)),) if assumed.readers else ()),
        )
        for cost in priced
    ]
    total = (
        "all",
        f"{sum(cost.clips_trained for cost in priced):,}",
        "",
        whole.text(sum(cost.training_macs for cost in priced)),
        whole.text(sum(cost.scoring_macs for cost in priced)),
        significant(sum(cost.gpu_hours(speed) for cost in priced)),
    )
    return columns, [*rows, (*total, *[""] * (len(columns) - len(total)))]


def remarks(priced: Sequence[Cost], sizes: Sequence[DataSize], assumed: Assumptions) -> list[str]:
    """The remarks below the table: data, speed, what was counted and what was not."""
    speed = assumed.speed
    lines = []
    for size in sizes:
        clips = ", ".join(f"{number:,} {split}" for split, number in size.clips.items())
        disk = MISSING if size.bytes_ is None else f"{significant(size.bytes_ / GIGABYTE)} GB"
        lines.append(f"Data {size.name}: {clips}; on the disk {disk}.")
        lines += [f"  {source}" for source in size.sources]
    lines.append(
        f"A GPU: {significant(speed.tflops)} TFLOP/s x {speed.utilisation:.1%} = "
        f"{significant(speed.macs_per_second / 1e12)} TMAC/s."
    )
    lines += [f"  {source}" for source in assumed.sources]
    kernels = ", ".join(dict.fromkeys(cost.kernel for cost in priced))
    views = ", ".join(dict.fromkeys(str(cost.views) for cost in priced))
    lines.append(
        f"MACs: {RULE}, on meta; attention: {kernels}; views of a scored clip: {views}. "
        "GPU hours are of one GPU; clips/s are those that it trains on, and must be decoded for it."
    )
    lines.append(
        "One utilisation is used for all: a scan leaves tensor cores idle where a matrix product "
        "does not, so the hours of PKS4 and video Mamba are the most optimistic."
    )
    if assumed.readers:
        lines.append(
            f"Decoders: processes a GPU, each as fast as the times in {assumed.readers_file}."
        )
    lines.append(f"Not counted: {'; '.join(NOT_COUNTED)}.")
    return lines


def document(
    priced: Sequence[Cost], sizes: Sequence[DataSize], assumed: Assumptions
) -> dict[str, Any]:
    """The same for programs, in base units."""
    speed = assumed.speed
    return {
        "rule": RULE,
        "speed": {**asdict(speed), "macs_per_second": speed.macs_per_second,
                  "sources": assumed.sources},
        "data": [{("bytes" if k == "bytes_" else k): v for k, v in asdict(size).items()}
                 for size in sizes],
        "trainings": [
            asdict(cost)
            | {
                "training_macs": cost.training_macs,
                "scoring_macs": cost.scoring_macs,
                "gpu_hours": cost.gpu_hours(speed),
                "clips_per_second_per_gpu": cost.clips_per_second(speed),
                "frames_per_second_per_gpu": cost.frames_per_second(speed),
                "decoders_per_gpu": decoders(cost, speed, assumed.readers),
            }
            for cost in priced
        ],
        "total_gpu_hours": sum(cost.gpu_hours(speed) for cost in priced),
        "not_counted": NOT_COUNTED,
    }  # fmt: skip


def _number(value: float | None) -> str:
    return MISSING if value is None else significant(value)
