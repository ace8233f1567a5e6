"""The sessions of the catalogue have the structure that it claims, in every format."""

import gzip
import json

import numpy as np
import pytest
from pyarrow import parquet

from tests import catalogue
from tests.catalogue import Catalogue, Sessions, write, write_files

SMALL = Catalogue(num_items=200, num_clusters=10)


def pairs(sessions: Sessions):
    """The items that are followed by another one in their session, and those that follow, [N] each."""
    is_last = np.zeros(len(sessions.items), bool)
    is_last[sessions.offsets[1:] - 1] = True
    return sessions.items[:-1][~is_last[:-1]], sessions.items[1:][~is_last[:-1]]


def test_what_follows_has_the_probabilities_that_the_catalogue_states():
    (sessions,) = SMALL.batches(20_000)
    before, after = pairs(sessions)

    in_cluster, by_noise = (1 - SMALL.sequels - SMALL.noise), SMALL.noise
    same = SMALL.clusters[before] == SMALL.clusters[after]
    expected = SMALL.sequels + in_cluster + by_noise * SMALL.of_clusters[SMALL.clusters[before]].mean()
    assert same.mean() == pytest.approx(expected, abs=0.01)
    popularity = SMALL.in_cluster[SMALL.sequel[before] // SMALL.num_clusters]
    assert (SMALL.sequel[before] == after).mean() == pytest.approx(
        SMALL.sequels + (in_cluster * popularity).mean(), abs=0.01
    )
    assert (SMALL.best(before, 1)[:, 0] == after).mean() > SMALL.sequels
    first = sessions.items[sessions.offsets[:-1]]
    counts = np.bincount(first, minlength=SMALL.num_items) / len(first)
    popularity = np.outer(SMALL.in_cluster, SMALL.of_clusters).ravel()
    np.testing.assert_allclose(counts, popularity, atol=0.01)
    assert sessions.lengths.min() == SMALL.min_length and sessions.lengths.max() <= SMALL.max_length
    assert sessions.lengths.mean() == pytest.approx(SMALL.mean_length, rel=0.05)


def test_sequels_are_a_circle_in_each_cluster_and_the_best_items_differ():
    assert sorted(SMALL.sequel) == list(range(SMALL.num_items))
    assert (SMALL.clusters[SMALL.sequel] == SMALL.clusters).all()
    best = SMALL.best(np.arange(SMALL.num_items), 5)
    assert (best[:, 0] == SMALL.sequel).all()
    assert all(len(set(row)) == 5 for row in best.tolist())


def test_all_formats_and_numbers_of_files_hold_the_same_sessions(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "BATCH", 100)
    shop = Catalogue(num_items=200, num_clusters=10, left_out=0.3)
    expected = shop.sessions(350, seed=7)
    for name in ("s.parquet", "s.jsonl", "s.txt", "s.txt.gz"):
        write(shop, tmp_path / name, 350, seed=7)
    write_files(shop, tmp_path / "files", 350, 3, "parquet", seed=7)

    assert parquet.read_table(tmp_path / "s.parquet")["items"].to_pylist() == expected
    assert parquet.ParquetFile(tmp_path / "s.parquet").num_row_groups == 4
    rows = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    assert rows == [{"session": number, "items": items} for number, items in enumerate(expected)]
    assert [line.split() for line in (tmp_path / "s.txt").read_text().splitlines()] == expected
    assert gzip.open(tmp_path / "s.txt.gz", "rt").read() == (tmp_path / "s.txt").read_text()
    table = parquet.read_table(tmp_path / "files")
    assert table["items"].to_pylist() == expected and table["session"].to_pylist() == list(range(350))
    seen = {item for session in expected for item in session}
    assert not seen & set(shop.names[shop.is_left_out]) and shop.sessions(350, seed=8) != expected
