"""The export that sentence-transformers loads: text -> the mean of the vectors of its known words.

    model.safetensors                   [W, D] float32, the vectors of the words without [PAD] and [UNK]
    tokenizer.json                      text -> the rows of its known words, see trainer.tokenizer_json
    modules.json                        says that the model is a StaticEmbedding, whose files are in this folder
    config_sentence_transformers.json   says that texts are compared by the cosine

The vectors are those of `embed_text` in the SavedModel. A text without known words has zeros.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any

from tensorflow.io import gfile

from trainer.checked_file import checked_file, write_numbers
from trainer.dataset import Dataset
from trainer.dataset_layout import FIRST_WORD_ID
from trainer.export_formats import Block, Table, Take
from trainer.tokenizer_json import tokenizer_json

_VECTORS = "model.safetensors"
_TOKENIZER = "tokenizer.json"
_OTHER_FILES: dict[str, Any] = {
    # The type is the name that all versions of the library know. The path "." is this folder; some versions would take
    # an empty one for a transformer's.
    "modules.json": [{"idx": 0, "name": "0", "path": ".", "type": "sentence_transformers.models.StaticEmbedding"}],
    "config_sentence_transformers.json": {
        "model_type": "SentenceTransformer",
        "prompts": {},
        "default_prompt_name": None,
        "similarity_fn_name": "cosine",
    },
}


def obstacle(dataset: Dataset) -> str:
    """Why this export is impossible for a dataset, or nothing."""
    if dataset.manifest.phrases_sha256:
        return "the dataset joins words to phrases, which a tokenizer.json cannot"
    tokenizer = dataset.manifest.config.get("tokenizer")
    if tokenizer not in ("words", "simple", "whitespace"):
        return f"the dataset's tokenizer is {tokenizer!r}, which is not one of words, simple and whitespace"
    return ""


@contextlib.contextmanager
def static_embedding(table: Table, path: str) -> Iterator[Take]:
    """Writes the folder, as a format (see trainer.export_formats).

    Args:
        table: the table of the vectors. Its dataset has no obstacle.
        path: the folder, which does not exist yet.
    """
    gfile.makedirs(path)
    tokenizer = table.dataset.manifest.config["tokenizer"]
    with checked_file(os.path.join(path, _TOKENIZER)) as write:
        for piece in tokenizer_json(table.words[FIRST_WORD_ID:], tokenizer):
            write(piece)
    for name, values in _OTHER_FILES.items():
        with checked_file(os.path.join(path, name)) as write:
            write(json.dumps(values, indent=1).encode() + b"\n")
    with checked_file(os.path.join(path, _VECTORS)) as write:
        write(_safetensors_header(table.num_named, table.embedding_dim))

        def take(block: Block) -> None:
            write_numbers(write, block.named)

        yield take


def _safetensors_header(num_rows: int, dimension: int) -> bytes:
    """What a file in the safetensors format begins with. The numbers of the only tensor follow.

    It is the length of a JSON text as 8 bytes, and this text. Spaces fill it up, so that the numbers begin at a
    multiple of 8 bytes.
    """
    tensor = {"dtype": "F32", "shape": [num_rows, dimension], "data_offsets": [0, 4 * num_rows * dimension]}
    text = json.dumps({"__metadata__": {"format": "pt"}, "embedding.weight": tensor}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
