"""The results of a benchmark: a table for people and a JSON file for programs."""

import dataclasses
import datetime
import importlib.metadata
import os
import platform
import statistics
from collections.abc import Callable, Sequence

_SENSES = {">=": float.__ge__, "<=": float.__le__}


@dataclasses.dataclass(frozen=True)
class Target:
    """A figure that should be reached, and the one that was measured."""

    name: str
    sense: str  # >= or <=
    value: float
    measured: float
    runs: Sequence[float]  # the figure of each run, for the lowest and the highest
    form: str = ".2f"

    @property
    def reached(self) -> bool:
        """Whether the target was reached. It was not if nothing could be measured (nan)."""
        return _SENSES[self.sense](float(self.measured), float(self.value))

    def as_json(self) -> dict:
        """The object for the JSON file."""
        return {
            "name": self.name,
            "target": f"{self.sense} {self.value:g}",
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

    def as_json(self) -> dict:
        """The object for the JSON file."""
        return {
            "name": self.name,
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


def ratio(name: str, sense: str, value: float, over: Sequence[float], under: Sequence[float]) -> Target:
    """A target for the quotient of two medians. Its runs are the quotients of each round."""
    measured = statistics.median(over) / statistics.median(under)
    return Target(name, sense, value, measured, [a / b for a, b in zip(over, under, strict=True)])


def table(figures: Sequence[Figure]) -> str:
    """Lines of aligned columns: each figure as `middle (min to max)`, and its target beside it."""
    columns = list(dict.fromkeys(column for figure in figures for column in figure.runs))
    rows = [["", *columns, "measured", "target", ""]]
    for figure in figures:
        row = [figure.name]
        for column in columns:
            runs = figure.runs.get(column)
            row.append(_spread(figure.middle(runs), runs, figure.form) if runs else "")
        if target := figure.target:
            row.append(_spread(target.measured, target.runs, target.form))
            row.append(f"{target.sense} {target.value:{target.form}}")
            row.append("reached" if target.reached else "MISSED")
        rows.append(row + [""] * (len(rows[0]) - len(row)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows
    )


def document(command: str, settings: dict, runs: Sequence[dict], figures: Sequence[Figure]) -> dict:
    """The contents of the JSON file.

    Args:
        command: the name of the benchmark.
        settings: its flags.
        runs: the raw figures of every run, in the order of the runs.
        figures: the figures of the table.
    """
    return {
        "benchmark": command,
        "settings": settings,
        "machine": machine(),
        "runs": list(runs),
        "figures": [figure.as_json() for figure in figures],
        "targets": [figure.target.as_json() for figure in figures if figure.target],
    }


def machine() -> dict:
    """The machine, the date and the versions of the packages."""
    versions = {}
    for name in ("tensorflow", "keras", "apache-beam", "numpy", "gensim"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "os": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):  # not Linux, or not x86
        return platform.processor() or platform.machine()


def _spread(middle: float, runs: Sequence[float], form: str) -> str:
    shown, low, high = (f"{figure:{form}}" for figure in (middle, min(runs), max(runs)))
    return shown if shown == low == high else f"{shown} ({low} to {high})"
