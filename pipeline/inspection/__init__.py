"""Answers questions about a finished dataset: its vocabulary, its words and where they are in the shards."""
