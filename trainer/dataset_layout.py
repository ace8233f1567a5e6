"""The names of files, tensors and ids in a dataset directory, as the pipeline writes it."""

MANIFEST_FILE = "manifest.json"
VOCABULARY_FILE = "vocabulary.tsv"  # a line `token<TAB>count` for each id, from 0
TRANSFORM_FOLDER = "transform_fn"  # the transform graph: a SavedModel that turns lines of text into ids
TEXT = "text"  # the transform graph's input, lines [N]
IDS = "ids"  # its output, ragged [N, words]

# Ids below FIRST_WORD_ID are not words: 0 fills arrays up ([PAD]), and 1 stands for unknown words ([UNK]).
UNK_ID = 1
FIRST_WORD_ID = 2
