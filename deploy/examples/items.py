# %% [markdown]
# # Recommendations, from sessions in a table
#
# A session is what one visitor took, in its order: purchases, page views, songs. Items that occur in the same
# sessions get similar vectors, and so the vectors tell what a visitor may take next. This example makes sessions up,
# trains on them, compares the model with the simplest recommender there is, recommends, and then goes on with the
# next day.
#
# Run it as a program, or cell by cell: editors show each `# %%` as a cell, and `jupytext --to notebook items.py`
# makes a notebook. All files go to the folder `items-example`.

# %%
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # TensorFlow's notes on the machine

from trainer import TrainerConfig, load_vectors, train  # isort: skip

import shutil
from pathlib import Path

import absl.logging
import apache_beam as beam
import numpy as np
import pyarrow
import pyarrow.parquet
import tensorflow as tf

from pipeline import BuildDataset, PipelineConfig
from trainer import evaluate

absl.logging.set_verbosity("error")  # TensorFlow's advice to those who write models
folder = Path("items-example")
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir()

# %% [markdown]
# ## Sessions
#
# The shop has 20 shelves, with five brands on each. A visitor has one brand in mind: seven of ten items that he takes
# are of this brand, two are of another brand on the same shelf, and one is anything. Some items of a brand are more
# popular than others. If your table has a row for each purchase instead, pandas collects them:
# `table.sort_values("time").groupby("session")["item"].agg(list).to_frame("items")`.

# %%
SHELVES, BRANDS = 20, 5


def session(draws, items_per_brand):
    """The items of one visitor, such as shelf7-brand2-item0. Items with low numbers are the popular ones."""
    shelf, brand = draws.integers(SHELVES), draws.integers(BRANDS)
    popularity = np.arange(1, items_per_brand + 1) ** -0.5
    items = []
    for kind in draws.choice(3, draws.integers(3, 10), p=[0.7, 0.2, 0.1]):
        from_shelf = draws.integers(SHELVES) if kind == 2 else shelf
        from_brand = draws.integers(BRANDS) if kind else brand
        item = draws.choice(items_per_brand, p=popularity / popularity.sum())
        items.append(f"shelf{from_shelf}-brand{from_brand}-item{item}")
    return items


def write_table(day, count, items_per_brand, seed):
    """Writes the sessions of a day as a Parquet file with a column of lists, and returns its path."""
    draws = np.random.default_rng(seed)
    path = str(folder / f"{day}.parquet")
    table = pyarrow.table({"items": [session(draws, items_per_brand) for _ in range(count)]})
    pyarrow.parquet.write_table(table, path)
    return path


monday = write_table("monday", 8000, items_per_brand=10, seed=1)
print(pyarrow.parquet.read_table(monday).slice(0, 2).to_pylist())

# %% [markdown]
# ## The dataset
#
# Sessions differ from sentences, and so do the settings. `tokenizer="whitespace"` takes items as they are. The window
# is as long as a session, and all items in it count alike, as their order means little here. `subsample=0` keeps all
# purchases of the popular items. `holdout` keeps a tenth of the sessions out, so that the model can be judged by
# sessions that it has not seen.

# %%
settings = dict(column="items", tokenizer="whitespace", window_size=10, shrink_windows=False, subsample=0, holdout=0.1)


def build(day, table, **more):
    """Makes the dataset of a day, and returns its folder."""
    dataset = str(folder / day / "dataset")
    with beam.Pipeline(runner="FnApiRunner") as job:
        job | BuildDataset(PipelineConfig(input=(table,), output=dataset, **settings, **more))
    return dataset


dataset = build("monday", monday)

# %% [markdown]
# ## The training
#
# Few sessions need many epochs. With held-out sessions in the dataset, the trainer looks after each epoch how often
# the item that a visitor really took last is among the model's ten best. With `patience=3` it stops when that has not
# risen for three epochs, and keeps the best vectors.

# %%
model = str(folder / "monday" / "model")
metrics = train(
    TrainerConfig(
        data=dataset,
        output=model,
        epochs=20,
        patience=3,
        patience_score="hit_rate_at_10",
        exports="vectors.bin,context_vectors.bin,saved_model",
    )
)
print(f"{len(metrics['loss'])} epochs")

# %% [markdown]
# ## Is it any good?
#
# The simplest recommender shows everyone the most popular items. A model that does not beat it is of no use. The
# brackets hold 95 % intervals: if two do not overlap, the difference is real.

# %%
evaluate.main([model, "--holdout", dataset, "--k", "10"])

# %% [markdown]
# ## What to recommend
#
# The query is the mean of the vectors of the last items, and the recommendations are the items nearest to it. Items
# that the visitor has had are left out. An item that is not in the vocabulary is new, and has no vector yet: it is
# passed over. If there is no known item at all, popular items are the best answer; rows are in the order of
# popularity.

# %%
vectors = load_vectors(f"{model}/vectors.bin")


def recommend(vectors, session, k=5, history=3):
    """The k items that go best with the last items of a session."""
    rows = [vectors.index[item] for item in session if item in vectors.index]
    if not rows:
        return vectors.words[:k]
    query = vectors.vectors[rows[-history:]].mean(axis=0)
    return [item for item, _ in vectors.nearest(query, k, exclude=rows)]


print(recommend(vectors, ["shelf7-brand2-item0", "shelf7-brand2-item3"]))
print(recommend(vectors, ["shelf7-brand2-item0", "shelf3-brand1-item1", "not-seen-before"]))
print(recommend(vectors, ["not-seen-before"]))

# %% [markdown]
# For thousands of items and more, and for requests that come one by one, this is fast enough: a query is a product of
# the table and one vector. `saved_model/` answers the same from any program with TensorFlow: its signature
# `embed_text` gives the mean of a session's items, and `nearest` the neighbours of an item.

# %%
served = tf.saved_model.load(f"{model}/saved_model").signatures
items = ["shelf7-brand2-item0", "shelf7-brand2-item3"]
query = served["embed_text"](text=tf.constant([" ".join(items)]))["vectors"].numpy()[0]
print([item for item, _ in vectors.nearest(query, k=5, exclude=[vectors.index[item] for item in items])])

# %% [markdown]
# ## The next day
#
# On Tuesday, each brand has two new items. `vocabulary` keeps the ids of Monday's items, and `grow_vocabulary` adds
# the new ones. `init` goes on from Monday's vectors, so that what Monday taught is not lost. New items begin with
# random vectors and have everything to learn, so the rate is the usual one. Where few items are new,
# `learning_rate=0.05` keeps the old ones closer to where they were.

# %%
tuesday = write_table("tuesday", 4000, items_per_brand=12, seed=2)
next_dataset = build("tuesday", tuesday, vocabulary=dataset, grow_vocabulary=True)
next_model = str(folder / "tuesday" / "model")
train(
    TrainerConfig(
        data=next_dataset,
        output=next_model,
        init=model,
        report=False,
        exports="vectors.bin,context_vectors.bin",
    )
)
evaluate.main([model, next_model, "--holdout", next_dataset, "--k", "10"])

next_vectors = load_vectors(f"{next_model}/vectors.bin")
new_item = next(item for item in next_vectors.words if item not in vectors.index)
print(new_item, recommend(next_vectors, [new_item]))

# %% [markdown]
# ## What to try next
#
# | what | how |
# |---|---|
# | popular items crowd out the others | `ns_exponent=0` or `-0.5` in `PipelineConfig`, `subsample=1e-3` |
# | the order of a session matters | leave `shrink_windows=False` out, and `--history 1` to `3` in `evaluate` |
# | visitors buy the same again | `--repeats` in `evaluate`, and do not exclude what they had |
# | items bought together, not instead of each other | `context_vectors.bin`: the line `context` above |
# | millions of items | Faiss or hnswlib: see `deploy/README.md`, *Nearest neighbours as a service* |
#
# Change one setting at a time, and compare the models with `evaluate` on the same held-out sessions.
