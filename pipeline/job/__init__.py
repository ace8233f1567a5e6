"""The Beam job, from check to complete dataset."""
