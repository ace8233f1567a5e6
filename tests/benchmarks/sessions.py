"""python -m tests.benchmarks.sessions: the next-item task on a catalogue, beside gensim and beside the best answers.

Sessions are drawn from tests.catalogue, whose structure is known. gensim and this project train on the same text with
the same settings. trainer.evaluate then compares their vectors on other sessions of the same catalogue.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from gensim.models import Word2Vec

from tests.benchmarks.processes import run, run_pipeline, run_trainer, say
from tests.catalogue import Catalogue, write
from trainer import word2vec_format

SETTINGS = {"vector_size": 128, "window": 5, "min_count": 5, "negative": 5, "sample": 1e-3}  # our defaults
_DRAWS_OF_TEST = 1_000_000  # the seed of the sessions that the models are tested on


def best_metrics(catalogue: Catalogue, sessions: list[list[str]], k: int) -> dict[str, float]:
    """The hit rate, MRR and NDCG at k of one who knows the catalogue, and who shows nothing that a session has had."""
    asked = [[int(token.split("-")[1]) for token in session] for session in sessions]
    asked = [session for session in asked if session[-1] not in session[:-1]]
    shown = catalogue.best(np.array([session[-2] for session in asked]), min(k + 32, catalogue.cluster_size))
    ranks = []
    for session, items in zip(asked, shown.tolist(), strict=True):
        new = [item for item in items if item not in session[:-1]][:k]
        ranks.append(1.0 + new.index(session[-1]) if session[-1] in new else np.inf)
    found = np.array(ranks)
    gains = np.where(np.isfinite(found), 1 / np.log2(1 + found), 0)
    return {
        "hit_rate": float(np.isfinite(found).mean()),
        "mrr": float((1 / found).mean()),
        "ndcg": float(gains.mean()),
    }


def train_gensim(text: Path, folder: Path, seed: int, epochs: int, settings: dict) -> None:
    """Writes gensim's vectors and context vectors to a folder."""
    model = Word2Vec(corpus_file=str(text), sg=1, epochs=epochs, seed=seed, workers=2, **settings)
    folder.mkdir()
    for name, table in (("vectors.bin", model.wv.vectors), ("context_vectors.bin", model.syn1neg)):
        word2vec_format.write_binary(str(folder / name), model.wv.index_to_key, table)


def train_ours(text: Path, folder: Path, seed: int, epochs: int, settings: dict, more: str = "") -> None:
    """Trains as a user does."""
    names = {"window": "window_size", "min_count": "min_count", "negative": "num_negatives", "sample": "subsample"}
    flags = [f"--{flag}={settings[name]}" for name, flag in names.items()]
    data = folder.with_suffix(".data")
    run_pipeline(text, data, "--tokenizer=whitespace", f"--seed={seed}", *flags)
    exports = "--exports=vectors.bin,context_vectors.bin"
    dimension = f"--embedding_dim={settings['vector_size']}"
    run_trainer(data, folder, dimension, f"--epochs={epochs}", f"--seed={seed}", exports, "--no_state", more=more)


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.sessions", description=__doc__.partition("\n")[0])
    parser.add_argument("--items", type=int, default=10_000, help="the size of the catalogue")
    parser.add_argument("--sessions", type=int, default=500_000, help="how many sessions to train on")
    parser.add_argument("--test_sessions", type=int, default=20_000, help="how many sessions to test on")
    parser.add_argument("--epochs", type=int, default=5, help="of both programs")
    parser.add_argument("--window", type=int, default=5, help="of both programs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="a round for each")
    parser.add_argument("--trainer_flags", default="", help="further flags of this project's trainer")
    parser.add_argument("--output", default="sessions.json", help="all figures as JSON")
    args = parser.parse_args()
    catalogue = Catalogue(num_items=args.items)
    settings = {**SETTINGS, "window": args.window}
    rounds = []
    for seed in args.seeds:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write(catalogue, folder / "train.txt", args.sessions, seed=seed)
            write(catalogue, folder / "test.txt", args.test_sessions, seed=_DRAWS_OF_TEST + seed)
            train_gensim(folder / "train.txt", folder / "gensim", seed, args.epochs, settings)
            train_ours(folder / "train.txt", folder / "ours", seed, args.epochs, settings, args.trainer_flags)
            best = best_metrics(catalogue, catalogue.sessions(args.test_sessions, _DRAWS_OF_TEST + seed), 10)
            say(f"seed {seed}, the best answers at 10: {best}")
            for history in (0, 1):
                flags = ("--sessions", folder / "test.txt", "--k", "10", "--history", str(history))
                report = folder / f"{history}.json"
                printed, _ = run("trainer.evaluate", folder / "gensim", folder / "ours", *flags, "--json", report)
                say(printed.replace(f"{folder}/", ""))
                rounds.append({"seed": seed, "history": history, "best": best, **json.loads(report.read_text())})
    Path(args.output).write_text(json.dumps(rounds, indent=1))


if __name__ == "__main__":
    main()
