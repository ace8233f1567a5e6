"""The names of the files and folders in a model directory. No other module states them."""

METRICS_FILE = "metrics.json"  # written last: a directory without it holds no complete model
LOGS_FOLDER = "logs"  # TensorBoard's files
CHECKPOINTS_FOLDER = "checkpoints"  # exists until the run has finished
SETTINGS_FILE = "settings.json"  # in CHECKPOINTS_FOLDER: the settings of the run that wrote the checkpoints

VECTORS_BINARY = "vectors.bin"  # word2vec's binary format
VECTORS_TEXT = "vectors.txt"  # word2vec's text format
VECTORS_TABLE = "vectors.tsv"  # the Embedding Projector's table of vectors
METADATA = "metadata.tsv"  # the Embedding Projector's list of words
SAVED_MODEL = "saved_model"
EXPORTS = (VECTORS_BINARY, VECTORS_TEXT, VECTORS_TABLE, METADATA, SAVED_MODEL)

CONTENTS = (METRICS_FILE, LOGS_FOLDER, CHECKPOINTS_FOLDER, *EXPORTS)
TEMPORARY_SUFFIX = ".tmp"  # in the name of a file or folder that is still being written
