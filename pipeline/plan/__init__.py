"""What a job will come to, estimated from a sample of the text."""
