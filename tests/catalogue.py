"""python -m tests.catalogue OUTPUT --sessions N: sessions of customers in a shop, whose structure is known.

A shop has items in clusters. A session begins with an item, and each following item is one of three:

    the sequel of the item before it        with the probability `sequels`
    any item of the shop, by popularity     with the probability `noise`
    an item of the same cluster as the one before it, by popularity in all other cases

Each item has one sequel, in its cluster. Clusters and the items of a cluster have popularities by Zipf's law. So the
probability of every next item is known, and with it the best answer to the next-item task.

Sessions are drawn and written in batches, so the memory does not grow with their number. The sessions depend on the
catalogue, the seed and the number of the first session alone, not on the format nor on the number of files.
"""

import argparse
import dataclasses
import functools
import gzip
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

BATCH = 100_000  # sessions that are drawn at once; a row group of parquet


class Sessions(NamedTuple):
    """Sessions, one behind the other."""

    items: np.ndarray  # [the sum of lengths] int32, items of all sessions
    lengths: np.ndarray  # [N] int64, the number of items of each session

    @property
    def offsets(self) -> np.ndarray:
        """Where each session begins in `items`, and where the last one ends, [N + 1] int64."""
        return np.concatenate([[0], np.cumsum(self.lengths)])


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """A shop. Items are numbers from 0; the item `i` is in the cluster `i % num_clusters`."""

    num_items: int = 10_000
    num_clusters: int = 100  # must divide num_items
    sequels: float = 0.4
    noise: float = 0.1
    mean_length: float = 8.0  # items of a session; lengths are geometric, from `min_length` to `max_length`
    min_length: int = 2
    max_length: int = 30
    zipf: float = 1.0  # the exponent within clusters
    zipf_of_clusters: float = 0.5
    left_out: float = 0.0  # the share of items that is in no session, as if they were not in the shop yet
    seed: int = 0  # of sequels and of the items that are left out

    def __post_init__(self) -> None:
        assert self.num_items % self.num_clusters == 0, "num_clusters must divide num_items"

    @property
    def cluster_size(self) -> int:
        """The number of items in a cluster."""
        return self.num_items // self.num_clusters

    @functools.cached_property
    def names(self) -> np.ndarray:
        """The token of each item, [items] objects."""
        return np.array([f"item-{number}" for number in range(self.num_items)], object)

    @functools.cached_property
    def clusters(self) -> np.ndarray:
        """The cluster of each item, [items]."""
        return np.arange(self.num_items) % self.num_clusters

    @functools.cached_property
    def sequel(self) -> np.ndarray:
        """The sequel of each item, [items] int32: the items of a cluster follow one another in a circle."""
        rng = np.random.default_rng([self.seed, 0])
        circles = rng.permuted(np.tile(np.arange(self.cluster_size), (self.num_clusters, 1)), axis=1)
        circles = circles * self.num_clusters + np.arange(self.num_clusters)[:, None]
        sequel = np.empty(self.num_items, np.int32)
        sequel[circles] = np.roll(circles, -1, axis=1)
        return sequel

    @functools.cached_property
    def is_left_out(self) -> np.ndarray:
        """Whether an item is in no session, [items] bool."""
        return np.random.default_rng([self.seed, 1]).random(self.num_items) < self.left_out

    @functools.cached_property
    def in_cluster(self) -> np.ndarray:
        """The popularity of the 1st, 2nd... item of a cluster, [cluster_size]; the sum is 1."""
        return _zipf(self.cluster_size, self.zipf)

    @functools.cached_property
    def of_clusters(self) -> np.ndarray:
        """The popularity of each cluster, [clusters]; the sum is 1."""
        return _zipf(self.num_clusters, self.zipf_of_clusters)

    def best(self, last: np.ndarray, k: int) -> np.ndarray:
        """The k most probable items behind each of the items [N], the best first, [N, k].

        This holds as long as noise is rare: it leaves out that items of other clusters may come by noise.
        """
        first = np.arange(k) * self.num_clusters + self.clusters[last][:, None]  # the k most popular of the cluster
        following = np.concatenate([self.sequel[last][:, None], first], axis=1)
        is_twice = following[:, 1:] == following[:, :1]
        order = np.argsort(np.pad(is_twice, [(0, 0), (1, 0)]), axis=1, kind="stable")  # the sequel only once
        return np.take_along_axis(following, order, axis=1)[:, :k]

    def batches(self, num_sessions: int, seed: int = 0, first: int = 0) -> Iterator[Sessions]:
        """Draws sessions, in batches of BATCH.

        Args:
            num_sessions: how many.
            seed: the seed of the draws, such as the number of a day.
            first: the number of the first session, a multiple of BATCH.
        """
        for start in range(first, first + num_sessions, BATCH):
            rng = np.random.default_rng([seed, start // BATCH, 2])
            yield self._draw(min(BATCH, first + num_sessions - start), rng)

    def sessions(self, num_sessions: int, seed: int = 0) -> list[list[str]]:
        """The same sessions as lists of tokens, in memory."""
        return [session for batch in self.batches(num_sessions, seed) for session in self.tokens(batch)]

    def tokens(self, sessions: Sessions) -> list[list[str]]:
        """The items of each session as tokens."""
        names = self.names[sessions.items].tolist()
        return [names[start:stop] for start, stop in itertools.pairwise(sessions.offsets.tolist())]

    def _draw(self, num: int, rng: np.random.Generator) -> Sessions:
        """Draws sessions: all first items, then all second items, and so on."""
        share_that_ends = 1 / max(1.0, self.mean_length - self.min_length + 1)
        lengths = np.minimum(self.min_length - 1 + rng.geometric(share_that_ends, num), self.max_length)
        items = np.empty((num, lengths.max()), np.int32)
        going_on = np.arange(num)
        for position in range(items.shape[1]):
            going_on = going_on[lengths[going_on] > position]
            num = len(going_on)
            drawn = self._next(items[going_on, position - 1], rng) if position else self._any(num, rng)
            items[going_on, position] = drawn
        is_there = np.arange(items.shape[1]) < lengths[:, None]
        if self.left_out:
            is_there &= ~self.is_left_out[np.where(is_there, items, 0)]
        return Sessions(items[is_there], is_there.sum(axis=1))

    def _any(self, num: int, rng: np.random.Generator) -> np.ndarray:
        """Items by popularity, [num] int32."""
        cluster = np.searchsorted(np.cumsum(self.of_clusters)[:-1], rng.random(num), side="right")
        return self._of_cluster(cluster, rng)

    def _of_cluster(self, cluster: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """An item of each of the clusters [n], by popularity, [n] int32."""
        number = np.searchsorted(np.cumsum(self.in_cluster)[:-1], rng.random(len(cluster)), side="right")
        return (number * self.num_clusters + cluster).astype(np.int32)

    def _next(self, before: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The item behind each of the items [n], [n] int32."""
        kind = rng.random(len(before))
        any_item = self._any(len(before), rng)
        of_cluster = self._of_cluster(self.clusters[before], rng)
        after = np.where(kind < self.sequels + self.noise, any_item, of_cluster)
        return np.where(kind < self.sequels, self.sequel[before], after).astype(np.int32)


def _zipf(size: int, exponent: float) -> np.ndarray:
    weights = np.arange(1, size + 1) ** -exponent
    return weights / weights.sum()


def write(catalogue: Catalogue, path: str | os.PathLike[str], num_sessions: int, seed: int = 0, first: int = 0) -> None:
    """Writes sessions to a file, whose name says its format.

    *.parquet has a row for each session, with its number in the column `session` (int64) and its items in the column
    `items` (list of strings), and row groups of BATCH rows. *.jsonl has an object with the same two fields on each
    line. Any other name makes a text: each line is a session, with spaces between its items. A name that ends in .gz
    makes a compressed file of JSON lines or text.

    Args:
        catalogue: the shop.
        path: the file.
        num_sessions: how many sessions.
        seed: the seed of the draws.
        first: the number of the first session, a multiple of BATCH.
    """
    path = Path(path)
    batches = catalogue.batches(num_sessions, seed, first)
    if path.suffix == ".parquet":
        _write_parquet(catalogue, path, batches, first)
        return
    is_json = path.name.removesuffix(".gz").endswith(".jsonl")
    with gzip.open(path, "wt") if path.suffix == ".gz" else open(path, "w") as file:
        for batch in batches:
            for number, items in enumerate(catalogue.tokens(batch), first):
                file.write(json.dumps({"session": number, "items": items}) if is_json else " ".join(items))
                file.write("\n")
            first += len(batch.lengths)


def _write_parquet(catalogue: Catalogue, path: Path, batches: Iterator[Sessions], first: int) -> None:
    """Writes a row group for each batch."""
    import pyarrow as pa
    from pyarrow import parquet

    names = pa.array(catalogue.names, pa.string())
    schema = pa.schema([("session", pa.int64()), ("items", pa.list_(pa.string()))])
    with parquet.ParquetWriter(path, schema) as writer:
        for batch in batches:
            tokens = names.take(pa.array(batch.items))
            items = pa.ListArray.from_arrays(pa.array(batch.offsets, pa.int32()), tokens)
            numbers = pa.array(np.arange(first, first + len(batch.lengths)))
            writer.write_table(pa.table([numbers, items], schema), row_group_size=BATCH)
            first += len(batch.lengths)


def write_files(
    catalogue: Catalogue, folder: str | os.PathLike[str], num_sessions: int, num_files: int, extension: str, seed: int
) -> None:
    """Divides sessions among files of a folder: part-00000.EXTENSION and so on."""
    os.makedirs(folder, exist_ok=True)
    per_file = -(-num_sessions // (BATCH * num_files)) * BATCH
    for number in range(num_files):
        first = number * per_file
        num = max(0, min(per_file, num_sessions - first))
        write(catalogue, Path(folder) / f"part-{number:05d}.{extension}", num, seed, first)


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.catalogue", description=__doc__.partition("\n")[0])
    parser.add_argument("output", metavar="OUTPUT", help="a file, or with --files a folder of files of --extension")
    parser.add_argument("--sessions", type=int, default=1_000_000, help="how many sessions to draw")
    parser.add_argument("--draws", type=int, default=0, help="the seed of the draws, such as the number of a day")
    parser.add_argument("--files", type=int, help="divide the sessions among so many files")
    parser.add_argument("--extension", default="parquet", help="parquet, jsonl, jsonl.gz, txt, txt.gz (with --files)")
    for field in dataclasses.fields(Catalogue):
        parser.add_argument(f"--{field.name}", type=type(field.default), default=field.default, help="of the catalogue")
    args = parser.parse_args()
    catalogue = Catalogue(**{field.name: getattr(args, field.name) for field in dataclasses.fields(Catalogue)})
    if args.files:
        write_files(catalogue, args.output, args.sessions, args.files, args.extension, args.draws)
    else:
        write(catalogue, args.output, args.sessions, args.draws)


if __name__ == "__main__":
    main()
