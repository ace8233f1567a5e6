"""Text files -> a dataset of skip-grams with negative samples, as an Apache Beam pipeline.

    text files --> byte ranges --> text blocks --> token ids --> subsampled ids --> skip-gram blocks --> TFRecord shards
                                       |                 ^                                                    |
                                       +-> vocabulary ---+ (transform_fn, counts)                 manifest.json, last

    options     command-line flags -> config         tokenizer   text -> words, as TensorFlow operations
    config      the frozen, validated settings       vocabulary  words -> counts, the transform graph
    runner      the job, and its summary             sampling    what is drawn at random, and from which stream
    graph       the wiring                           skipgrams   token ids -> skip-gram examples
    ingest      files -> text blocks                 records     examples <-> tf.train.Example
    shards      ranges -> TFRecord files             manifest    how a dataset comes to be, all at once
    console     what the commands share              inspect     examples in words, as a command
    worker      what a worker process imports first  plan        what a run will come to
    sample      a share of the text, all over it     growth      a sample's vocabulary -> the text's

`sampling`, `skipgrams` and `growth` are pure NumPy, `tokenizer` and `records` TensorFlow; the others are Beam around
them.
"""
