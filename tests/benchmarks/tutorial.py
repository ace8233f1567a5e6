"""Runs TensorFlow's word2vec tutorial from its notebook, and `--preset tutorial` on the same text.

    python -m tests.benchmarks.tutorial --notebook word2vec.ipynb --corpus shakespeare.txt

The notebook is docs/tutorials/word2vec.ipynb in the repository tensorflow/text. Its Keras functions need Python 3.11.
The program prints loss and accuracy by epoch side by side, and how long examples and training take.
"""

import argparse
import importlib.util
import json
import os
import sys
import tempfile
import time
import types
from pathlib import Path

from tests.benchmarks.processes import run


def run_notebook(path: str, corpus: str) -> dict:
    """Executes the notebook's code cells in this process.

    Returns:
        generate_seconds and train_seconds, the time of the cells that generate the examples and that call fit; the
        number of examples; loss and accuracy by epoch.
    """
    import tensorflow as tf

    if importlib.util.find_spec("tqdm") is None:  # the notebook uses only its progress bar
        sys.modules["tqdm"] = types.SimpleNamespace(tqdm=lambda items: items)
    tf.keras.utils.get_file = lambda *args, **kwargs: corpus
    namespace = {"__name__": "notebook"}
    seconds = {}
    for cell in json.loads(Path(path).read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code" or "no_execute" in source or "google.colab" in source:
            continue
        start = time.perf_counter()
        exec("\n".join(line for line in source.split("\n") if not line.startswith(("%", "!"))), namespace)
        for name, call in (("generate_seconds", "= generate_training_data("), ("train_seconds", ".fit(")):
            if call in source:
                seconds[name] = time.perf_counter() - start
        if "train_seconds" in seconds:
            break
    history = namespace["word2vec"].history.history
    return {"examples": len(namespace["targets"]), **seconds, "loss": history["loss"], "accuracy": history["accuracy"]}


def run_preset(corpus: str, directory: Path) -> dict:
    """Runs both programs with --preset tutorial. Returns the same figures, and the time of the whole commands."""

    data, model = directory / "data", directory / "model"
    summary, pipeline = run("pipeline", "--preset=tutorial", "--input", corpus, "--output", data)
    _, trainer = run("trainer.task", "--preset=tutorial", "--data", data, "--output", model)
    metrics = json.loads((model / "metrics.json").read_text())
    return {
        "examples": metrics["skip_grams_per_epoch"],
        # This includes reading the text and writing the examples.
        "generate_seconds": float(summary.split(", examples ")[1].split()[0]),
        "train_seconds": metrics["train_seconds"],
        "pipeline_seconds": pipeline["seconds"],
        "trainer_seconds": trainer["seconds"],
        "loss": metrics["loss"],
        "accuracy": metrics["accuracy"],
    }


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--notebook", required=True, help="word2vec.ipynb")
    parser.add_argument("--corpus", required=True, help="the tutorial's shakespeare.txt, or another text")
    parser.add_argument("--json", help="where to write all figures")
    args = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    corpus = os.path.abspath(args.corpus)
    notebook = os.path.abspath(args.notebook)
    with tempfile.TemporaryDirectory() as directory:
        ours = run_preset(corpus, Path(directory))
        os.chdir(directory)  # because the notebook writes logs into its working directory
        theirs = run_notebook(notebook, corpus)
        os.chdir("/")

    print("\nepoch   loss: notebook   preset   accuracy: notebook   preset")
    columns = (theirs["loss"], ours["loss"], theirs["accuracy"], ours["accuracy"])
    for epoch, row in enumerate(zip(*columns, strict=True), start=1):
        print("{:5d}   {:14.4f} {:8.4f}   {:18.4f} {:8.4f}".format(epoch, *row))
    print("\n                           notebook     preset    times")
    for title, name, count in (
        ("generating, examples/s", "generate_seconds", 1),
        ("training, examples/s", "train_seconds", len(ours["loss"])),
    ):
        rates = [count * figures["examples"] / figures[name] for figures in (theirs, ours)]
        print(f"{title:24} {rates[0]:10,.0f} {rates[1]:10,.0f} {rates[1] / rates[0]:8,.1f}")
    print(
        "\nWhole commands, with imports, vocabulary, compilation and export: "
        f"pipeline {ours['pipeline_seconds']:.1f} s, trainer {ours['trainer_seconds']:.1f} s"
    )
    if args.json:
        Path(args.json).write_text(json.dumps({"notebook": theirs, "preset": ours}, indent=1) + "\n")


if __name__ == "__main__":
    main()
