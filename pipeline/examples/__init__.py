"""Token ids -> TFRecord shards of skip-gram examples."""
