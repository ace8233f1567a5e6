"""The names of the files and folders in a model directory. No other module states them."""

METRICS_FILE = "metrics.json"  # written last: a directory without it holds no complete model
REPORT_FILE = "report.html"  # what was trained on, how it went and what came out, for people
LOGS_FOLDER = "logs"  # TensorBoard's files
PROJECTOR_FOLDER = "projector-"  # how the name of a folder in LOGS_FOLDER begins, see trainer.projector
CHECKPOINTS_FOLDER = "checkpoints"  # exists until the run has finished
SETTINGS_FILE = "settings.json"  # in CHECKPOINTS_FOLDER: the settings of the run that wrote the checkpoints

VECTORS_BINARY = "vectors.bin"  # word2vec's binary format
VECTORS_TEXT = "vectors.txt"  # word2vec's text format
VECTORS_TABLE = "vectors.tsv"  # the Embedding Projector's table of vectors
METADATA = "metadata.tsv"  # the Embedding Projector's list of words
SAVED_MODEL = "saved_model"
CONTEXT_VECTORS = "context_vectors.bin"  # the vectors of words as context, in word2vec's binary format
COUNTS = "vocabulary.txt"  # a line `word count` for each word, as word2vec.c's -save-vocab writes it
STATIC_EMBEDDING = "static_embedding"  # a folder that sentence-transformers loads
VECTOR_SEARCH = "vector_search"  # a folder that Vertex AI Vector Search makes an index of
DEFAULT_EXPORTS = (VECTORS_BINARY, VECTORS_TEXT, VECTORS_TABLE, METADATA, SAVED_MODEL)
EXPORTS = (*DEFAULT_EXPORTS, CONTEXT_VECTORS, COUNTS, STATIC_EMBEDDING, VECTOR_SEARCH)

STATE_FOLDER = "state"  # what training on needs, see trainer.state
STATE_FILE = "state.json"  # in STATE_FOLDER: its sizes and the optimizer
STATE_VOCABULARY = "vocabulary.tsv"  # in STATE_FOLDER: a line `token<TAB>count` for each id, as in the dataset
STATE_TABLES = ("target_embeddings.npy", "context_embeddings.npy")  # in STATE_FOLDER
STATE_ACCUMULATORS = ("target_accumulators.npy", "context_accumulators.npy")  # in STATE_FOLDER

CONTENTS = (METRICS_FILE, REPORT_FILE, LOGS_FOLDER, CHECKPOINTS_FOLDER, *EXPORTS, STATE_FOLDER)
TEMPORARY_SUFFIX = ".tmp"  # in the name of a file or folder that is still being written
