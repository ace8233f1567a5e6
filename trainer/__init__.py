"""A dataset of skip-grams -> word embeddings, with Keras and TensorFlow alone.

    shards + manifest --> tf.data --> Keras fit --> embeddings --> word2vec .bin/.txt, projector .tsv, SavedModel

    task        command-line flags -> config         checkpoints  saving, and going on where a run was
    config      the frozen, validated settings       callbacks    progress, throughput, TensorBoard
    training    one run, from dataset to exports     export       every output format
    dataset     manifest + shards -> batches         vectors      word2vec's file formats
    model       SkipGram: tables, the step           neighbors    nearest neighbours, as a command
    losses      logits -> loss and its gradient      evaluate     word similarity and analogies, as a command
    optimizer   RowwiseAdagrad                       devices      how TensorFlow is to use the processor

The dataset directory is all that it shares with the pipeline.
"""
