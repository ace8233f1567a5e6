"""The plots, as Plotly describes them. A colour such as "--accent" is a variable of page.css; page.js looks it up."""

import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from trainer.report import facts
from trainer.report.corpus import coverage, lengths_of_lines, size_for, thinned
from trainer.report.curves import Curve, by_epoch
from trainer.report.sources import Corpus, Sources
from trainer.report.word_map import WordMap
from trainer.report.words import Words

Plot = dict[str, Any]
_HIGHEST_LOSS = 3  # times the median: the first steps may be so far above it that nothing else would be seen
_DIGITS = 5  # of a number in the page
_CURVES = {  # TensorBoard's names of curves that have a plot of their own: title, format of the numbers
    "learning_rate": ("Learning rate", ".3~g"),
    "words_per_second": ("Words a second", ".3s"),
    "input_wait_fraction": ("Share of the time spent waiting for input", ".1%"),
}


def corpus_plots(corpus: Corpus) -> list[Plot]:
    """How frequent the words are, what they cover, and how long the lines are."""
    counts = corpus.counts[corpus.counts > 0]
    rows = thinned(len(counts))
    ranks = (rows + 1).tolist()
    shares = coverage(counts, corpus.manifest.num_words)
    words = [html.escape(corpus.words[row], quote=False) for row in rows]  # Plotly understands some HTML
    plots = []
    if len(counts):
        frequency = _line(ranks, counts[rows].tolist(), "count", "%{customdata}<br>rank %{x:,}<br>%{y:,} times")
        frequency["customdata"] = words
        zipf = _line([1, len(counts)], [int(counts[0]), int(counts[0]) / len(counts)], "Zipf’s law", "", "--faint")
        zipf |= {"hoverinfo": "skip", "line": {"color": "--faint", "dash": "dot", "width": 1.5}}
        del zipf["hovertemplate"]
        plots.append(
            _plot("frequency", "Count of the words by rank", [frequency, zipf], "rank", "count", x="log", y="log")
        )
        cover = _line(ranks, _short(shares[rows]), "coverage", "the %{x:,} most frequent words<br>are %{y:.1%}")
        cover["fill"] = "tozeroy"
        cover["fillcolor"] = "--accent-faint"
        note = [
            f"{share:.0%} of the text: {size:,} words"
            for share in (0.5, 0.8, 0.9, 0.95)
            if (size := size_for(shares, share))
        ]
        plot = _plot("coverage", "Share of the text by size of the vocabulary", [cover], "words", "", x="log")
        plot["layout"]["yaxis"] |= {"tickformat": ".0%", "range": [0, 1.02]}
        plots.append({**plot, "note": "; ".join(note)})
    lengths = lengths_of_lines(corpus.manifest.counters)
    if lengths:
        names = [f"{first:,}" if first == last else f"{first:,}–{last:,}" for first, last, _ in lengths]
        bars = {
            "type": "bar", "x": names, "y": [count for _, _, count in lengths], "marker": {"color": "--accent"},
            "hovertemplate": "%{x} words<br>%{y:,} lines<extra></extra>",
        }  # fmt: skip
        plot = _plot("lengths", "Lines by their number of words", [bars], "words in a line", "lines")
        plot["layout"]["xaxis"]["type"] = "category"
        plots.append(plot)
    return plots


def curve_plots(sources: Sources) -> list[Plot]:
    """How the training went: the loss, the scores, and the rates. x is the epoch."""
    metrics = sources.metrics
    steps = max(1, metrics["steps_per_epoch"])
    curves: dict[str, Curve] = {
        name: [(step / steps, value) for step, value in curve] for name, curve in sources.curves.items()
    }
    losses = []
    if curves.get("loss"):
        losses.append(_curve(curves["loss"], "training, between two points", ".4f"))
    losses.append(_curve(by_epoch(metrics, "loss"), "training, mean of the epoch", ".4f", "--second", points=True))
    if held_out := by_epoch(metrics, "holdout_loss"):
        losses.append(_curve(held_out, "held-out lines", ".4f", "--third", points=True))
    plots = [_plot("loss", "Loss per skip-gram", losses, "epoch", "")]
    values = [value for line in losses for value in line["y"] if value is not None]
    if values and max(values) > (top := _HIGHEST_LOSS * float(np.median(values))):
        plots[0]["layout"]["yaxis"]["range"] = [0, top]
        plots[0]["note"] = "The largest values lie above the plot; a double click shows all."
    for name, text in facts.TITLES.items():
        if name != "holdout_loss" and (curve := by_epoch(metrics, name)):
            lines = [_curve(curve, text, ".4f", "--second", points=True)]
            plots.append(_plot(name, text[0].upper() + text[1:], lines, "epoch", ""))
    for name, (text, form) in _CURVES.items():
        if curves.get(name):
            plot = _plot(name, text, [_curve(curves[name], text, form)], "epoch", "")
            plot["layout"]["yaxis"] |= {"rangemode": "tozero", "tickformat": form}
            plots.append(plot)
    return plots


def map_data(word_map: WordMap, words: Words) -> dict[str, Any]:
    """The map of words, which page.js draws."""
    rows = word_map.rows.tolist()
    counts = words.counts
    return {
        "words": [words.words[row] for row in rows],
        "counts": None if counts is None else [int(counts[row]) for row in rows],
        "x": _short(word_map.places[:, 0]),
        "y": _short(word_map.places[:, 1]),
        "groups": word_map.groups.tolist(),
        "names": list(word_map.names),
    }


def _plot(
    name: str, title: str, data: Sequence[Plot], x_title: str, y_title: str, *, x: str = "linear", y: str = "linear"
) -> Plot:
    axes = {
        "xaxis": {"title": {"text": x_title}, "type": x, **({"dtick": 1} if x == "log" else {})},
        "yaxis": {"title": {"text": y_title}, "type": y, **({"dtick": 1} if y == "log" else {})},
    }
    return {"name": name, "title": title, "data": list(data), "layout": {**axes, "showlegend": len(data) > 1}}


def _line(x: Sequence[Any], y: Sequence[Any], name: str, hover: str, colour: str = "--accent") -> Plot:
    return {
        "type": "scatter", "mode": "lines", "x": x, "y": y, "name": name, "line": {"color": colour, "width": 2},
        "hovertemplate": f"{hover}<extra></extra>",
    }  # fmt: skip


def _curve(curve: Curve, name: str, form: str, colour: str = "--accent", *, points: bool = False) -> Plot:
    values = np.array(curve, np.float64).reshape(-1, 2)
    line = _line(_short(values[:, 0]), _short(values[:, 1]), name, f"epoch %{{x:.3~f}}<br>%{{y:{form}}}", colour)
    if points or len(curve) < 3:
        line |= {"mode": "lines+markers", "marker": {"color": colour, "size": 8}}
    return line


def _short(values: np.ndarray) -> list[float | None]:
    """Numbers with few digits, so that the page stays small. JSON has no NaN, so it becomes None."""
    numbers = np.asarray(values, np.float64)
    return [float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None for value in numbers.tolist()]
