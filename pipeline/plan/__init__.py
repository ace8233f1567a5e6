"""Estimates the size of a job from a sample of the text."""
