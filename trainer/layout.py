"""What stands where in a model directory."""

METRICS_FILE = "metrics.json"  # written last: a directory without it holds no complete model
LOGS_FOLDER = "logs"  # for TensorBoard
CHECKPOINTS_FOLDER = "checkpoints"  # there only until a run has ended well

VECTORS_BINARY = "vectors.bin"  # word2vec's formats
VECTORS_TEXT = "vectors.txt"
VECTORS_TABLE = "vectors.tsv"  # the Embedding Projector's
METADATA = "metadata.tsv"
SAVED_MODEL = "saved_model"
EXPORTS = (VECTORS_BINARY, VECTORS_TEXT, VECTORS_TABLE, METADATA, SAVED_MODEL)

CONTENTS = (METRICS_FILE, LOGS_FOLDER, CHECKPOINTS_FOLDER, *EXPORTS)
