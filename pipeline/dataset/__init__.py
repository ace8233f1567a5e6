"""The dataset directory: the contract with whoever trains on it. No Beam in here."""
