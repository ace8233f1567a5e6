"""The results of a benchmark: a table for people and a JSON file for programs."""

import dataclasses
import datetime
import importlib.metadata
import os
import platform
import statistics
from collections.abc import Callable, Sequence

_SENSES = {">=": float.__ge__, "<=": float.__le__}
# What /proc/cpuinfo calls instructions that matter for matrix products, and what people call them.
_INSTRUCTIONS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_bf16": "AVX-512 BF16",
    "amx_bf16": "AMX BF16",
    "asimd": "NEON",
    "sve": "SVE",
    "bf16": "BF16",
}


@dataclasses.dataclass(frozen=True)
class Target:
    """A figure that should be reached, and the one that was measured."""

    name: str
    sense: str  # >= or <=
    value: float | None  # None if the one that was measured is only told
    measured: float
    runs: Sequence[float]  # the figure of each run, for the lowest and the highest
    form: str = ".2f"

    @property
    def reached(self) -> bool | None:
        """Whether the target was reached. It was not if nothing could be measured (nan). None if there is no target."""
        return None if self.value is None else _SENSES[self.sense](float(self.measured), float(self.value))

    def as_json(self) -> dict:
        """The object for the JSON file."""
        return {
            "name": self.name,
            "target": None if self.value is None else f"{self.sense} {self.value:g}",
            "measured": self.measured,
            "min": min(self.runs),
            "max": max(self.runs),
            "reached": self.reached,
        }


@dataclasses.dataclass(frozen=True)
class Figure:
    """One line of the table."""

    name: str
    runs: dict[str, Sequence[float]]  # column -> the figure of each run
    form: str = ",.0f"
    target: Target | None = None
    middle: Callable[[Sequence[float]], float] = statistics.median  # makes the table's figure of the runs
    corpus: str = ""  # which text it is about, where there are several

    def as_json(self) -> dict:
        """The object for the JSON file."""
        return {
            "name": self.name,
            **({"corpus": self.corpus} if self.corpus else {}),
            **{
                column: {
                    "median": statistics.median(runs),
                    "mean": statistics.fmean(runs),
                    "min": min(runs),
                    "max": max(runs),
                    "runs": list(runs),
                }
                for column, runs in self.runs.items()
            },
        }


def ratio(name: str, sense: str, value: float | None, over: Sequence[float], under: Sequence[float]) -> Target:
    """A target for the quotient of two medians. Its runs are the quotients of each round."""
    measured = statistics.median(over) / statistics.median(under)
    return Target(name, sense, value, measured, [a / b for a, b in zip(over, under, strict=True)])


def table(figures: Sequence[Figure]) -> str:
    """Lines of aligned columns: each figure as `middle (min to max)`, and its target beside it.

    Above the figures of each corpus is a line with its name.
    """
    columns = list(dict.fromkeys(column for figure in figures for column in figure.runs))
    rows = [["", *columns, "measured", "target", ""]]
    corpus = ""
    for figure in figures:
        if figure.corpus != corpus:
            corpus = figure.corpus
            rows.append([corpus, *[""] * (len(rows[0]) - 1)])
        row = [figure.name]
        for column in columns:
            runs = figure.runs.get(column)
            row.append(_spread(figure.middle(runs), runs, figure.form) if runs else "")
        if target := figure.target:
            row.append(_spread(target.measured, target.runs, target.form))
            if target.value is not None:
                row.append(f"{target.sense} {target.value:{target.form}}")
                row.append("reached" if target.reached else "MISSED")
        rows.append(row + [""] * (len(rows[0]) - len(row)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows
    )


def document(
    command: str, settings: dict, runs: Sequence[dict], figures: Sequence[Figure], gpus: Sequence[str] = ()
) -> dict:
    """The contents of the JSON file.

    Args:
        command: the name of the benchmark.
        settings: its flags.
        runs: the raw figures of every run, in the order of the runs.
        figures: the figures of the table.
        gpus: the names of the GPUs that were used.
    """
    return {
        "benchmark": command,
        "settings": settings,
        "machine": machine(gpus),
        "runs": list(runs),
        "figures": [figure.as_json() for figure in figures],
        "targets": [
            {**({"corpus": figure.corpus} if figure.corpus else {}), **figure.target.as_json()}
            for figure in figures
            if figure.target
        ],
    }


def headline(about: dict) -> str:
    """One line on a machine that `machine` describes: its processor, its cores and its GPUs."""
    gpus = about["gpus"]
    parts = [f"{about['cpu']} ({', '.join(about['instructions'])})" if about["instructions"] else about["cpu"]]
    parts += [f"{about['cores']} core{'s' if about['cores'] != 1 else ''}", f"{about['memory_bytes'] / 1e9:.0f} GB"]
    parts += [f"{gpus.count(name)} x {name}" for name in dict.fromkeys(gpus)] or ["no GPU in use"]
    return f"machine: {', '.join(parts)}"


def machine(gpus: Sequence[str] = ()) -> dict:
    """The machine, the date and the versions of the packages. It lists the GPUs that were used, whose names it gets."""
    versions = {}
    for name in ("tensorflow", "keras", "apache-beam", "numpy", "gensim"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "cpu": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "instructions": _instructions(_cpuinfo("flags") or _cpuinfo("Features")),
        "gpus": list(gpus),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "os": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _cpuinfo(name: str) -> str:
    """What Linux tells about the first core under a name; empty if it tells nothing, or if this is not Linux."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.partition(":")[2].strip() for line in file if line.partition(":")[0].strip() == name)
    except (OSError, StopIteration):
        return ""


def _instructions(flags: str) -> list[str]:
    """The names of the instructions that are among the flags of a processor."""
    return [title for flag, title in _INSTRUCTIONS.items() if flag in flags.split()]


def _spread(middle: float, runs: Sequence[float], form: str) -> str:
    shown, low, high = (f"{figure:{form}}" for figure in (middle, min(runs), max(runs)))
    return shown if shown == low == high else f"{shown} ({low} to {high})"
