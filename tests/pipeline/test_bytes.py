"""Golden: the bytes of shards and vocabulary for given flags. After a change here, nobody can make a dataset again."""

import hashlib
from pathlib import Path

import pytest

from pipeline.config import PRESETS, PipelineConfig
from pipeline.job import runner
from tests.pipeline.helpers import ROOT, contents

SHAKESPEARE = ROOT.parent / "shared" / "data" / "shakespeare.txt"
# (preset, tokenizer, passes, compression) -> the digest of the dataset made of the tutorial's Shakespeare in 4 shards.
# Each two of preset, passes and compression occur together.
DIGESTS = {
    ("word2vec", "simple", 1, "none"): "c1aefcdd544fbb46481dd4b320ee2270a2b311ca9e7d3669262b7da0a2401888",
    ("word2vec", "simple", 3, "gzip"): "cf1c35e46d1876b0a8c219b40e2b2398b7ebfd6f698555eb26e9df21b0c07dcb",
    ("word2vec", "words", 1, "none"): "8336f42db310a10fd595331904abf8834b3a5dcd8a6ebaffc2a5bc339c1650fd",
    ("tutorial", "simple", 1, "gzip"): "bc5d6a56d150d25806130181a94641a35b3fc19640518c5563a6ccd1a5cd99bb",
    ("tutorial", "simple", 3, "none"): "053eb74628f28bee3fa6208bd1c6f3e60941d0823a0ea8546bc60e115e9ce2b9",
}


def digest(dataset: Path) -> str:
    """The SHA-256 of all shards and of the vocabulary, with their names."""
    total = hashlib.sha256()
    for name, data in sorted(contents(dataset).items()):
        if name == "vocabulary.tsv" or name.startswith("skipgrams/"):
            total.update(f"{name} {hashlib.sha256(data).hexdigest()}\n".encode())
    return total.hexdigest()


@pytest.mark.skipif(not SHAKESPEARE.exists(), reason="the tutorial's Shakespeare is not at hand")
@pytest.mark.parametrize("case", DIGESTS, ids=lambda case: "-".join(map(str, case)))
def test_a_dataset_is_the_same_bytes_as_ever(case, tmp_path):
    preset, tokenizer, passes, compression = case
    settings = {
        **PRESETS[preset],
        "tokenizer": tokenizer,
        "passes": passes,
        "compression": compression,
        "num_shards": 4,
    }
    runner.run(PipelineConfig(input=(str(SHAKESPEARE),), output=str(tmp_path / "dataset"), **settings), [])

    assert digest(tmp_path / "dataset") == DIGESTS[case]
