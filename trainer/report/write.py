"""Writes the report of a model."""

import functools
import os
import shlex
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.io import gfile

from trainer import preflight
from trainer.errors import UserError, user_message
from trainer.files import open_file
from trainer.interrupt import cleaning_up
from trainer.layout import REPORT_FILE, TEMPORARY_SUFFIX
from trainer.report import facts, page, plots, settings
from trainer.report.page import Section
from trainer.report.sources import Sources, open_sources
from trainer.report.word_map import make_map
from trainer.report.words import Words

_NEIGHBOURS = 8
_WORDS = 10  # whose neighbours are shown: so many chosen by their frequency, and so many at random
_RANKS = (100, 5000)  # of the words that are chosen: below the first, words have little meaning of their own


def write_report(model: str, *, data: str = "", output: str = "", log_dir: str = "", words: Sequence[str] = ()) -> str:
    """Writes the report of a model.

    Args:
        model: the model directory; it may be remote.
        data: the dataset directory, if it is not where the run had it.
        output: the file to write; if it is not given, report.html in the model directory.
        log_dir: TensorBoard's files, if they are neither where the run wrote them nor in the model directory.
        words: the words whose neighbours to show. If there are none, some are chosen.

    Returns:
        The path of the file.

    Raises:
        UserError: the model is not complete or damaged, the dataset is not the model's, or a word is not in the
            vocabulary.
    """
    text = make_page(open_sources(model, data, log_dir), words).encode()
    path = output or os.path.join(model, REPORT_FILE)
    _write(path, text)
    return path


def make_page(sources: Sources, chosen: Sequence[str] = ()) -> str:
    """The page; the arguments and errors are those of `write_report`."""
    corpus_plots = plots.corpus_plots(sources.corpus) if sources.corpus else []
    curve_plots = plots.curve_plots(sources)
    data: dict[str, Any] = {"plots": [*corpus_plots, *curve_plots], "map": None}
    sections = [Section("summary", "Summary", page.tiles(facts.tiles(sources)) + _init(sources))]
    map_section = [Section("words", "Map of the words", page.note(_no_vectors(sources)))]
    if sources.words and sources.words.words:
        word_map = make_map(sources.words)
        data["map"] = plots.map_data(word_map, sources.words)
        map_section = [
            Section("words", "Map of the words", _map(len(word_map.rows), sources.words)),
            Section("neighbours", "Nearest neighbours", _neighbours(sources.words, chosen, _seed(sources))),
        ]
    elif chosen:
        raise UserError(f"--words {' '.join(chosen)}: {_no_vectors(sources)}")
    sections += map_section
    sections.append(Section("training", "Training", page.note(sources.no_curves) + page.plots(curve_plots)))
    sections.append(Section("corpus", "Corpus", _corpus(sources, corpus_plots)))
    sections.append(Section("settings", "Settings", _settings(sources)))
    sections.append(Section("repeat", "Repeat it", _commands(sources)))
    return page.page(facts.title(sources), _subtitle(sources), sections, data, _library())


@functools.cache
def _library() -> str:
    """The script of Plotly."""
    from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

    script: str = get_plotlyjs()
    return script.replace("</script", "<\\/script")


def _subtitle(sources: Sources) -> str:
    finished = sources.metrics.get("finished")
    when = f"Finished {finished[:16].replace('T', ' ')} UTC. " if isinstance(finished, str) else ""
    wrote = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    return f"{when}The model is in {sources.model}. The report was written {wrote} UTC."


def _init(sources: Sources) -> str:
    return page.paragraph(facts.init_fact(sources.metrics))


def _no_vectors(sources: Sources) -> str:
    return f"There is no map and there are no neighbours: {sources.no_words or 'the model has no words'}."


def _seed(sources: Sources) -> int:
    seed = sources.metrics["config"].get("seed", 1)
    return seed if isinstance(seed, int) and seed >= 0 else 1


def _map(num_words: int, words: Words) -> str:
    frequency = '<button type="button" data-by="frequency" aria-pressed="false">Frequency</button>'
    return (
        page.paragraph(
            f"The {num_words:,} most frequent words, placed by t-SNE so that words with similar vectors are near each "
            "other. Distances between far groups mean little. Point at a word to see it, scroll to zoom, drag to move."
        )
        + '<div class="tools"><input id="find" type="search" placeholder="Find a word" aria-label="Find a word on the '
        'map" autocomplete="off" spellcheck="false"><button type="button" id="all">Show all</button>'
        '<span>Colours:</span><button type="button" data-by="groups" aria-pressed="true">Groups</button>'
        + ("" if words.counts is None else frequency)
        + '<output id="found" for="find" aria-live="polite"></output></div>'
        + '<figure><div id="map" role="img" aria-label="Map of the words"></div></figure>'
    )


def _neighbours(words: Words, chosen: Sequence[str], seed: int) -> str:
    rows = _rows_of(words, chosen) if chosen else typical_rows(words)
    num_words, draws = len(words.words), np.random.default_rng(seed)
    some = draws.choice(num_words, min(num_words, len(rows) + _WORDS), replace=False).tolist()
    drawn = [row for row in some if row not in rows][:_WORDS]
    answers = words.nearest([*rows, *drawn], _NEIGHBOURS)

    def cards(some: Sequence[int], their: Sequence[list[tuple[int, float]]]) -> str:
        return page.cards(
            (
                words.words[row],
                "" if words.counts is None else f"{words.counts[row]:,} times",
                [(words.words[other], cosine) for other, cosine in answer],
            )
            for row, answer in zip(some, their, strict=True)
        )

    heading = "Chosen words" if chosen else "Frequent and less frequent words"
    return (
        page.paragraph("The words with the largest cosine, among all words of the vocabulary.")
        + f"<h3>{heading}</h3>"
        + cards(rows, answers[: len(rows)])
        + ("<h3>Random words</h3>" + cards(drawn, answers[len(rows) :]) if drawn else "")
    )


def typical_rows(words: Words) -> list[int]:
    """The rows of some words from frequent to rather rare ones, evenly spread over the logarithm of their ranks."""
    order = np.arange(len(words.words)) if words.counts is None else np.argsort(-words.counts, kind="stable")
    last = min(_RANKS[1], len(order) - 1)
    ranks = np.unique(np.geomspace(min(_RANKS[0], max(1, last // 2)), max(1, last), _WORDS).astype(np.int64))
    return [int(order[rank]) for rank in ranks if rank < len(order)]


def _rows_of(words: Words, chosen: Sequence[str]) -> list[int]:
    """The rows of words that were asked for. A text with commas that is no word itself is several words."""
    index = {word: row for row, word in enumerate(words.words)}
    rows = []
    for text in chosen:
        for word in [text] if text in index else text.split(","):
            if word not in index:
                raise UserError(f"--words {word!r} is not among the {len(words.words):,} words of the vocabulary")
            rows.append(index[word])
    return list(dict.fromkeys(rows))


def _corpus(sources: Sources, corpus_plots: Sequence[plots.Plot]) -> str:
    corpus = sources.corpus
    if corpus is None:
        return page.note(f"Nothing is shown of the corpus: {sources.no_corpus}.")
    changes = facts.mended(corpus.manifest)
    has_lengths = any(plot["name"] == "lengths" for plot in corpus_plots)
    missing = "" if has_lengths else "The dataset is of an earlier version, which did not count the words in a line."
    return (
        page.table(facts.corpus_facts(corpus))
        + page.plots(corpus_plots)
        + page.note(missing)
        + ("<h3>Mended or dropped</h3>" + page.bullets(changes) if changes else "")
    )


def _settings(sources: Sources) -> str:
    metrics = sources.metrics
    versions = [(str(name), str(value)) for name, value in dict(metrics.get("versions") or {}).items()]
    files = [(name, facts.size_text(size)) for name, size in sources.sizes.items()]
    dataset = sources.corpus and settings.dataset_settings(sources.corpus.manifest)
    return (
        page.paragraph("Settings that are not the defaults are marked.")
        + '<div class="columns"><div><h3>Dataset</h3>'
        + (page.settings(dataset) if dataset else page.note(f"{sources.no_corpus}."))
        + "</div><div><h3>Trainer</h3>"
        + page.settings(_trainer_settings(sources))
        + '</div></div><div class="columns"><div><h3>Files</h3>'
        + page.table(files)
        + "</div><div><h3>Versions</h3>"
        + page.table(versions)
        + "</div></div>"
    )


def _trainer_settings(sources: Sources) -> list[settings.Row]:
    return settings.trainer_settings(sources.metrics["config"], sources.corpus.manifest if sources.corpus else None)


def _commands(sources: Sources) -> str:
    dataset = ""
    if sources.corpus:
        dataset = settings.command("pipeline", settings.dataset_settings(sources.corpus.manifest)) + "\n\n"
    trainer = settings.command("trainer.task", _trainer_settings(sources))
    report = f"python -m trainer.report {shlex.quote(sources.model)}"
    return (
        page.paragraph(
            "These commands make the same dataset and the same vectors, up to rounding. Flags that are not given have "
            "their defaults. Paths are as they were given, so relative ones need the same working directory."
        )
        + page.code(dataset + trainer)
        + page.paragraph("This writes the report anew:")
        + page.code(report)
    )


def _write(path: str, text: bytes) -> None:
    """Writes a file, which appears at its place only when it is complete."""
    temporary = path + TEMPORARY_SUFFIX
    with cleaning_up(lambda: preflight.remove(temporary)):
        try:
            with open_file(temporary, "wb") as file:
                file.write(text)
            gfile.rename(temporary, path, overwrite=True)
        except (OSError, tf.errors.OpError) as error:
            preflight.remove(temporary)
            if user_message(error):  # the storage fails
                raise
            reason = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
            raise UserError(
                f"--output {path} cannot be written ({reason}): expected a file in a folder that can be written to"
            ) from error
