# %% [markdown]
# # Vectors of words, from text to a served model
#
# This is the way from a file of text to word vectors and to what can be done with them, with the Python API alone.
# Run it as a program, or cell by cell: editors show each `# %%` as a cell, and `jupytext --to notebook words.py`
# makes a notebook. All files go to the folder `words-example`.
#
# `train` comes first, because it tells TensorFlow how many threads to use before TensorFlow is imported.

# %%
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # TensorFlow's notes on the machine

from trainer import TrainerConfig, load_vectors, train  # isort: skip

import shutil
import subprocess
import sys
from pathlib import Path

import absl.logging
import apache_beam as beam
import numpy as np
import tensorflow as tf
from gensim.models import KeyedVectors

import trainer
from pipeline import BuildDataset, PipelineConfig, inspect

absl.logging.set_verbosity("error")  # TensorFlow's advice to those who write models
folder = Path("words-example")
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir()

# %% [markdown]
# ## Text
#
# The text is a file with a sentence or a paragraph on each line. `TEXT=my.txt python words.py` takes a file of yours.
# Without it, the text is the documentation of the Python packages on this machine, which is about a million words.

# %%
text = os.environ.get("TEXT")
if not text:
    text = str(folder / "corpus.txt")
    script = Path(trainer.__file__).parents[1] / "deploy" / "local" / "gather_docstrings.py"
    subprocess.run([sys.executable, script, text], check=True)
with open(text, encoding="utf-8") as file:
    print(next(file))

# %% [markdown]
# ## The dataset
#
# `BuildDataset` is a step of an Apache Beam pipeline. `FnApiRunner` is Beam's runner for this machine; on a cluster,
# only the runner differs. A million words is a small text, so words that occur fewer than 10 times are left out:
# their vectors would be bad.

# %%
dataset = str(folder / "dataset")
with beam.Pipeline(runner="FnApiRunner") as job:
    job | BuildDataset(PipelineConfig(input=(text,), output=dataset, min_count=10))

# %% [markdown]
# A *skip-gram* is a word, the target, and one of the words around it. Each target also gets random words, the
# negative samples, which it should not be near. An example, called a block, holds many targets that share them.
# Below, each line of the list is a target with the words around it; `_` is its own place. `inspect` is the command
# `python -m pipeline.inspect`, which answers more questions about a dataset.

# %%
inspect.main([dataset, "--examples", "1"])
inspect.main([dataset, "--coverage"])

# %% [markdown]
# ## The training
#
# Ten epochs are ten times through the dataset. Large texts need fewer. The loss is the mean of all skip-grams of an
# epoch, and must fall.

# %%
model = str(folder / "model")
metrics = train(TrainerConfig(data=dataset, output=model, epochs=10))
for epoch, loss in enumerate(metrics["loss"], start=1):
    print(f"epoch {epoch:2}: loss {loss:.3f}")

# %% [markdown]
# ## Nearest words
#
# Words that stand in similar company have similar vectors, so the cosine of two vectors tells how related two words
# are. Rows are in the order of falling frequency. The most frequent words, such as "the", stand in any company and
# say little, so the first hundred are skipped here.

# %%
vectors = load_vectors(f"{model}/vectors.bin")
chosen = [word for word in vectors.words[100:] if len(word) > 4][:5]
for word in chosen:
    row = vectors.index[word]
    nearest = vectors.nearest(vectors.vectors[row], k=5, exclude=[row])
    print(f"{word}: " + ", ".join(f"{other} {cosine:.2f}" for other, cosine in nearest))

# %% [markdown]
# ## In gensim
#
# gensim reads the same file. Everything that its `KeyedVectors` can do works, such as `most_similar` with sums of
# words and `doesnt_match`. The counts of the words come from the vocabulary of the dataset.

# %%
keyed = KeyedVectors.load_word2vec_format(f"{model}/vectors.bin", binary=True, fvocab=f"{dataset}/vocabulary.tsv")
first, second = chosen[:2]
print(keyed.most_similar(first, topn=3))
print(f"the cosine of {first} and {second} is {keyed.similarity(first, second):.2f}")
print(f"{first} occurs {keyed.get_vecattr(first, 'count')} times")

# %% [markdown]
# ## Text to vectors, as it is served
#
# `saved_model/` is the model for programs that have TensorFlow and nothing of this project. It splits text into words
# as the dataset was split. The vector of a text is the mean of its words' vectors. Here it finds the lines that are
# most similar to a question.

# %%
served = tf.saved_model.load(f"{model}/saved_model").signatures
with open(text, encoding="utf-8") as file:
    lines = [line.strip() for line, _ in zip(file, range(2000), strict=False)]


def embed(texts):
    """The vectors of texts, each of length 1; zeros for a text without a known word."""
    found = served["embed_text"](text=tf.constant(texts))["vectors"].numpy()
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)


question = "how do I read a file?"
cosines = embed(lines) @ embed([question])[0]
for row in np.argsort(-cosines)[:3]:
    print(f"{cosines[row]:.2f}  {lines[row][:100]}")

# %% [markdown]
# The model also tells neighbours, which needs no table of vectors in your program.

# %%
near = served["nearest"](words=tf.constant(chosen[:1]), k=tf.constant(3))
print(chosen[0], [word.decode() for word in near["words"].numpy()[0]], near["cosines"].numpy()[0].round(2))

# %% [markdown]
# ## What else is in the model's folder

# %%
for path in sorted(Path(model).iterdir()):
    print(path.name)

# %% [markdown]
# `report.html` is a page with all of this: the text, the curves, a map of the words, and the settings. `tensorboard
# --logdir words-example/model/logs` shows the loss, and the words as a cloud of points in its tab *Projector*. Where
# to go from here:
#
# * Your own text, with more words: the vectors of a million words are a beginning. `min_count=5` and `epochs=5` suit
#   texts of ten million words and more.
# * `PipelineConfig(phrases=1)` makes one word of two that belong together, such as `new_york`.
# * `python -m trainer.evaluate` scores vectors on word similarity and analogies.
# * `items.py` does the same for items of a shop.
