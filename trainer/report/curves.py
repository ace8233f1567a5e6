"""The curves of a run, from TensorBoard's event files."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from trainer.files import exists

Curve = list[tuple[float, float]]  # (x, y), x ascending
_MOST_POINTS = 600  # of a curve, which a screen can show


class Point(NamedTuple):
    """One value of a curve."""

    wall_time: float  # when it was written, in seconds
    step: int
    value: float


def read_curves(log_dir: str) -> dict[str, Curve]:
    """Reads the curves of the last run in a log folder.

    Args:
        log_dir: the folder; it may be remote.

    Returns:
        (step, value) by the name of the curve; nothing if the folder has no files of TensorBoard.
    """
    if not exists(log_dir):
        return {}
    from tensorboard.backend.event_processing import event_accumulator  # type: ignore[import-untyped]
    from tensorboard.util.tensor_util import make_ndarray  # type: ignore[import-untyped]

    events: Any = event_accumulator.EventAccumulator(
        log_dir, size_guidance={"scalars": 0, "tensors": 0}, purge_orphaned_data=False
    )
    events.Reload()
    tags = events.Tags()
    curves = {}
    for tag in tags["tensors"]:
        values = [(each.wall_time, each.step, make_ndarray(each.tensor_proto)) for each in events.Tensors(tag)]
        points = [Point(when, step, float(value)) for when, step, value in values if value.ndim == 0]
        curves[tag] = last_run(points)
    for tag in tags["scalars"]:
        curves[tag] = last_run(Point(each.wall_time, each.step, each.value) for each in events.Scalars(tag))
    return {tag: curve for tag, curve in curves.items() if curve}


def last_run(points: Iterable[Point]) -> Curve:
    """The points of a run that may have been interrupted and resumed, or that followed another run in the same folder.

    A run that starts or goes on at a step makes the earlier points from there on invalid.

    >>> last_run([Point(1, 0, 5.0), Point(2, 10, 4.0), Point(3, 20, 3.0), Point(4, 10, 4.5), Point(5, 30, 2.0)])
    [(0, 5.0), (10, 4.5), (30, 2.0)]
    """
    kept: list[Point] = []
    for point in sorted(points, key=lambda point: point.wall_time):
        while kept and kept[-1].step >= point.step:
            kept.pop()
        kept.append(point)
    step = -(-len(kept) // _MOST_POINTS) or 1
    shown = kept[::step] + (kept[-1:] if kept and (len(kept) - 1) % step else [])
    return [(point.step, point.value) for point in shown]


def by_epoch(metrics: Mapping[str, Any], name: str) -> Curve:
    """A number for each epoch, as metrics.json has it: (epoch, value)."""
    values = metrics.get(name)
    if not isinstance(values, list):
        return []
    return [(epoch, float(value)) for epoch, value in enumerate(values, 1) if isinstance(value, int | float)]
