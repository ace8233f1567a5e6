"""What kubernetes.py and custom_job.py share: they describe a job in JSON, for the scripts beside them.

JSON is YAML too, so every program that takes YAML takes it. The scripts give these programs words such as name=VALUE,
and then, after the word --, the flags of the program that the job runs.
"""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def read_words(argv: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Returns the values by name, and the flags. Ends the program with one line if a word is not UTF-8."""
    for word in argv:
        try:
            word.encode()
        except UnicodeEncodeError:
            sys.exit(
                f"{Path(sys.argv[0]).name}: {word!a} is not UTF-8: expected text that a job's description can hold"
            )
    end = argv.index("--")
    return dict(word.split("=", 1) for word in argv[:end]), list(argv[end + 1 :])


def dumps(document: Any) -> str:
    """JSON that a YAML parser reads as a JSON parser does.

    YAML takes some characters outside of ASCII for line breaks, so these are escaped. It does not know the two escapes
    that JSON has for a character above U+FFFF, so such a character is not escaped.
    """
    text = json.dumps(document, indent=2, ensure_ascii=False)
    return re.sub("[^\n -~\U00010000-\U0010ffff]", lambda found: f"\\u{ord(found[0]):04x}", text)
