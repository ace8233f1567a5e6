"""Random streams: generators that give every worker the same draws for the same key."""

import hashlib
import json

import numpy as np


def random_stream(*key: str | int) -> np.random.Generator:
    """A random generator whose draws depend on `key` alone.

    Every worker gets the same draws for the same key, at any time. The generator is Philox (Salmon et al. 2011), whose
    streams for different keys are independent.

    Args:
        *key: the seed, and what names the stream: the stage (what is drawn), the pass, the file's path, and the byte
            offset of the text block.
    """
    digest = hashlib.blake2b(json.dumps(key).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(digest, dtype="<u8")))
