"""How much memory the trainer takes, and how many GPUs hold its tables. Plain arithmetic.

The trainer keeps two tables of float32 numbers with a row for each id and a column for each dimension. Its optimizer
keeps one more float32 for each row of each table. Several devices divide the columns among them: each holds the same
number of columns of every row, and the optimizer's number of every row.
"""

_FLOAT32_BYTES = 4
_TABLES = 2  # target and context embeddings

# On a CPU, the rest of the process is Python and TensorFlow, and the words with what finds them.
_PROCESS_BYTES = 10**9
_WORD_BYTES = 400

# A part of a GPU is not there for the tables. TensorFlow leaves 1.1 to 1.9 GB to CUDA, and what CUDA and the GPU's own
# checks of errors take is missing from the size by which a GPU is sold. This share of that size covers both.
_RESERVED_SHARE = 0.15
# A step needs room for its batch. With 65,536 targets in blocks of 64, window 5, 64 negatives and 300 dimensions, the
# rows that it uses, their gradients and what is subtracted from them are 745 MB. Six arrays of logits are 217 MB.
_STEP_BYTES = 10**9


def trainer_bytes(vocab_size: int, embedding_dim: int) -> int:
    """How much memory the trainer's process takes at most on a CPU, in bytes.

    Args:
        vocab_size: the number of ids.
        embedding_dim: the number of columns of each table.
    """
    return _PROCESS_BYTES + vocab_size * _WORD_BYTES + tables_bytes(vocab_size, embedding_dim)


def tables_bytes(vocab_size: int, columns: int) -> int:
    """How much memory both tables and the optimizer's numbers take on a device, in bytes.

    Args:
        vocab_size: the number of ids.
        columns: how many columns of each table the device holds.
    """
    return vocab_size * _row_bytes(columns)


def devices_needed(vocab_size: int, embedding_dim: int, device_bytes: int) -> int | None:
    """How many GPUs the tables need at least. None if no number suffices, as each holds one column or more.

    Args:
        vocab_size: the number of ids.
        embedding_dim: the number of columns of each table.
        device_bytes: the memory of a GPU in bytes, by which it is sold.
    """
    for_tables = device_bytes * (1 - _RESERVED_SHARE) - _STEP_BYTES
    columns = min(embedding_dim, int((for_tables / vocab_size - _row_bytes(0)) // (_row_bytes(1) - _row_bytes(0))))
    return -(-embedding_dim // columns) if columns > 0 else None


def _row_bytes(columns: int) -> int:
    return _TABLES * _FLOAT32_BYTES * (columns + 1)  # the optimizer's number is the one more
