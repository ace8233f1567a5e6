"""--init: rows go on by their words, from a state or from a foreign file; and what a run makes of them."""

import dataclasses
import json
import re
import shutil
import zlib

import numpy as np
import pytest

from tests.conftest import TOPICS, run_module, topical_text
from tests.contract.make import FOLDER
from tests.trainer.test_state import ARRAYS, exported
from trainer import export, files, training, warm_start, word2vec_format, word2vec_parser
from trainer.columns import Columns
from trainer.config import TrainerConfig
from trainer.dataset import open_dataset
from trainer.errors import UserError
from trainer.group import Group

DIM = 6


@pytest.fixture(scope="module")
def dataset():
    return open_dataset(str(FOLDER / "blocks"))


@pytest.fixture(scope="module")
def earlier(dataset, tmp_path_factory):
    """(a model, its words, its arrays): words of the dataset in another order, but not all, and some others."""
    words = [*dataset.words()[:1:-1][3:], *(f"gone{number}" for number in range(5))]
    tokens = ["[PAD]", "[UNK]", *words]
    other = dataclasses.replace(
        dataset,
        manifest=dataclasses.replace(dataset.manifest, vocab_size=len(tokens)),
        _vocabulary="".join(f"{token}\t7\n" for token in tokens).encode(),
    )
    rng = np.random.default_rng(5)
    shapes = [(len(tokens), DIM)] * 2 + [(len(tokens),)] * 2
    arrays = {name: rng.random(shape, np.float32) for name, shape in zip(ARRAYS, shapes, strict=True)}
    directory = tmp_path_factory.mktemp("earlier")
    exported(other, arrays, directory, "vectors.bin,vectors.txt")
    (directory / "metrics.json").write_text("{}")
    return directory, tokens, arrays


class Second(Group):
    """The second of two processes, as far as its columns matter."""

    def columns(self, dimension):
        return Columns.share(dimension, 1, 2, list)


def built(dataset, init, group=None, **settings):
    config = TrainerConfig(
        str(FOLDER / "blocks"), "unused", embedding_dim=DIM, batch_size=2, init=str(init), **settings
    )
    return config, training.build_model(config, dataset, group)[0]


def numbers(model):
    """By name, the tables and accumulators of a model."""
    variables = [*model.trainable_variables, *getattr(model.optimizer, "accumulators", [])]
    return {name: variable.numpy() for name, variable in zip(ARRAYS, variables, strict=False)}


def expected(dataset, fresh, tokens, arrays, columns=slice(None)):
    """What the arrays become, word by word."""
    result = {name: values.copy() for name, values in fresh.items()}
    for row, token in enumerate(dataset.words()):
        if token in tokens:
            for name in result:
                values = arrays[name][tokens.index(token)]
                result[name][row] = values[columns] if values.ndim else values
    return result


@pytest.mark.parametrize("group", [Group(), Second()])
def test_rows_go_on_by_their_words(group, dataset, earlier, monkeypatch, caplog):
    """In blocks of some rows, and in each process with its columns."""
    monkeypatch.setattr("trainer.state._BLOCK_BYTES", 4 * DIM * 5)
    directory, tokens, arrays = earlier
    config, model = built(dataset, directory, group)
    columns = slice(model.columns.start, model.columns.stop)
    wanted = expected(dataset, numbers(model), tokens, arrays, columns)
    caplog.set_level("INFO", "trainer")

    found = warm_start.start_from(config, dataset, model, Group())

    for name, values in numbers(model).items():
        np.testing.assert_array_equal(values, wanted[name], name)
    counts = dict(line.split("\t") for line in dataset.vocabulary.decode().splitlines()[2:])
    new = [int(count) for word, count in counts.items() if word not in tokens]
    assert found[:3] == (len(counts) - 3, 3, 5) and len(new) == 3
    assert found.new_share == pytest.approx(sum(new) / sum(map(int, counts.values())))
    assert caplog.messages == [
        f"{len(counts) - 3} words go on from {directory}; 3 are new, which are {found.new_share:.1%} of the text, and "
        "start as usual; 5 of its words are gone"
    ]


@pytest.mark.parametrize("name", ["vectors.bin", "vectors.txt"])
def test_a_file_has_vectors_of_targets_alone(name, dataset, earlier, monkeypatch, caplog):
    monkeypatch.setattr(word2vec_parser, "_BLOCK_BYTES", 4 * DIM * 5)
    directory, tokens, arrays = earlier
    config, model = built(dataset, directory / name)
    fresh = numbers(model)
    tokens = ["", "", *tokens[2:]]  # such a file has neither [PAD] nor [UNK]
    wanted = {**fresh, ARRAYS[0]: expected(dataset, fresh, tokens, arrays)[ARRAYS[0]]}
    caplog.set_level("INFO", "trainer")

    found = warm_start.start_from(config, dataset, model, Group())

    for each, values in numbers(model).items():
        np.testing.assert_array_equal(values, wanted[each], each)
    assert found[:3] == (dataset.vocab_size - 5, 3, 5)
    told = caplog.messages[1]
    assert told == "the context vectors and the optimizer start anew, as a file of vectors has nothing of them"


def test_another_optimizer_starts_anew(dataset, earlier, caplog):
    directory, tokens, arrays = earlier
    config, model = built(dataset, directory, optimizer="adam", learning_rate=0.001)
    moments = [variable.numpy() for variable in model.optimizer.variables]
    wanted = expected(dataset, numbers(model), tokens, arrays)
    caplog.set_level("INFO", "trainer")

    warm_start.start_from(config, dataset, model, Group())

    for name, values in numbers(model).items():
        np.testing.assert_array_equal(values, wanted[name], name)
    for before, variable in zip(moments, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(variable.numpy(), before)
    assert caplog.messages[1] == (
        "the optimizer starts anew, since nothing is kept of rowwise_adagrad for adam; the context vectors go on, too"
    )


def blocks_of(path):
    with files.mapped(str(path), "vectors") as data:
        return list(word2vec_parser.parse_blocks(str(path), data))


@pytest.mark.parametrize("name", ["vectors.bin", "vectors.txt"])
@pytest.mark.parametrize("rows", [1, 3, 100])
def test_blocks_of_a_file_are_the_whole(name, rows, earlier, monkeypatch):
    whole = word2vec_format.load(str(earlier[0] / name))
    monkeypatch.setattr(word2vec_parser, "_BLOCK_BYTES", 4 * DIM * rows)
    words, vectors = zip(*blocks_of(earlier[0] / name), strict=True)
    assert sum(words, []) == whole.words
    np.testing.assert_array_equal(np.concatenate(vectors), whole.vectors)
    assert {len(each) for each in words[:-1]} <= {rows}


@pytest.mark.parametrize("change, message", [
    (lambda text: text.replace("\nc ", "\na "), "in line 4, the word 'a' is that of an earlier row"),
    (lambda text: text.replace("\nd 4", "\nd nan"), "in line 5, the vector of 'd' holds nan"),
    (lambda text: text.replace("\nd 4", "\n 4"), "in line 5, the word is b''"),
    (lambda text: text + "e 1\n", "in line 6, the file goes on"),
])  # fmt: skip
def test_damage_in_a_later_block_is_told_with_its_place(change, message, tmp_path, monkeypatch):
    monkeypatch.setattr(word2vec_parser, "_BLOCK_BYTES", 4)
    path = tmp_path / "v.txt"
    path.write_text(change("4 1\na 1\nb 2\nc 3\nd 4\n"))
    with pytest.raises(UserError, match=re.escape(message)):
        blocks_of(path)


def refusal(dataset, init, **settings):
    config = TrainerConfig(
        str(FOLDER / "blocks"), "unused", init=str(init), batch_size=2, **{"embedding_dim": DIM, **settings}
    )
    with pytest.raises(UserError) as raised:
        warm_start.start_from(config, dataset, training.build_model(config, dataset)[0], Group())
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_what_cannot_be_used_is_told(dataset, earlier, tmp_path):
    directory = earlier[0]
    for init in (directory, directory / "vectors.bin"):
        assert refusal(dataset, init, embedding_dim=7) == (
            f"--embedding_dim 7: the vectors of --init {init} have 6 numbers each: expected --embedding_dim 6, or "
            "another --init"
        )
    assert refusal(dataset, tmp_path / "none").startswith(f"--init {tmp_path}/none cannot be read (No such file")
    (tmp_path / "v.bin").write_bytes(b"")
    assert "v.bin is damaged or not in word2vec's binary format" in refusal(dataset, tmp_path / "v.bin")
    word2vec_format.write_binary(str(tmp_path / "v.bin"), ["Other", "words"], np.ones((2, DIM), np.float32))
    assert f"v.bin has none of the {dataset.vocab_size - 2} words of --data" in refusal(dataset, tmp_path / "v.bin")
    without = shutil.copytree(directory, tmp_path / "model")
    shutil.rmtree(without / "state")
    assert "train it again, without --no_state" in refusal(dataset, without)


class Differs(Group):
    """A process whose chief has another model."""

    def told_by_chief(self, text=""):
        return "another"


def test_all_processes_start_from_the_same(dataset, earlier):
    config, model = built(dataset, earlier[0])
    with pytest.raises(UserError, match="--init .* is not the same for all processes: expected a model or a file in a"):
        warm_start.start_from(config, dataset, model, Differs())


def test_a_checkpoint_wins_over_init_and_nothing_is_left_of_a_start_that_failed(earlier, tmp_path, monkeypatch):
    init = shutil.copytree(earlier[0], tmp_path / "init")
    config = TrainerConfig(
        str(FOLDER / "blocks"), str(tmp_path / "model"), embedding_dim=DIM, init=str(init), epochs=1,
        exports="vectors.bin",
    )  # fmt: skip
    path = init / "state/context_accumulators.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"?")
    with pytest.raises(UserError, match="context_accumulators.npy is damaged"):
        training.train(config)
    path.write_bytes(content)

    with monkeypatch.context() as patched, pytest.raises(OSError):
        patched.setattr(training, "_export", lambda *args: exec("raise OSError"))
        training.train(config)
    shutil.rmtree(init)

    metrics = training.train(dataclasses.replace(config, resume=True))
    assert metrics["init"]["gone"] == 5 and metrics["exports"] == ["vectors.bin", "state"]


def rename(model, words):
    """Renames words in a state, so that it does not have them."""
    path = model / "state/vocabulary.tsv"
    for word in words:
        path.write_bytes(path.read_bytes().replace(f"\n{word}\t".encode(), f"\n{word.swapcase()}\t".encode()))
    description = json.loads((model / "state/state.json").read_text())
    description["files"]["vocabulary.tsv"]["crc32"] = zlib.crc32(path.read_bytes())
    (model / "state/state.json").write_text(json.dumps(description))


def topic_of_nearest(vectors, word):
    """How many of the 5 nearest words are of the word's topic."""
    topic = next(words for words in TOPICS.values() if word in words)
    row = vectors.index[word]
    return sum(near in topic for near, _ in vectors.nearest(vectors.vectors[row], 5, [row]))


def test_words_keep_their_neighbours_and_new_ones_get_good_ones(model_dir, tmp_path):
    """A model goes on with a third as much text, in which a word of each topic is new."""
    (tmp_path / "text.txt").write_text(topical_text(1500, seed=9))
    flags = ("--subsample", "0.02", "--block_targets", "16", "--block_negatives", "16")
    run_module("pipeline", "--input", tmp_path / "text.txt", "--output", tmp_path / "data", *flags)
    new = [words[0] for words in TOPICS.values()]
    rename(shutil.copytree(model_dir, tmp_path / "first"), new)
    config = TrainerConfig(
        str(tmp_path / "data"), str(tmp_path / "second"), init=str(tmp_path / "first"), embedding_dim=16, batch_size=8,
        epochs=2, exports="vectors.bin",
    )  # fmt: skip

    metrics = training.train(config)
    alone = training.train(dataclasses.replace(config, output=str(tmp_path / "alone"), init=""))
    before, after = (word2vec_format.load(f"{folder}/vectors.bin") for folder in (model_dir, config.output))

    assert metrics["init"]["new"] == len(new)
    assert metrics["loss"][0] < alone["loss"][-1]
    old = [word for words in TOPICS.values() for word in words[1:]]
    assert np.mean([topic_of_nearest(after, word) for word in new]) >= 4
    assert np.mean([topic_of_nearest(after, word) for word in old]) >= 4.5
    rows = [[vectors.index[word] for word in old] for vectors in (before, after)]
    cosines = np.einsum("nd,nd->n", before.unit_vectors[rows[0]], after.unit_vectors[rows[1]])
    assert cosines.min() > 0.95


def test_an_export_without_others_writes_no_state(dataset, tmp_path):
    pieces = [np.zeros((dataset.vocab_size, DIM), np.float32)]
    assert export.export(dataset, iter(pieces), DIM, str(tmp_path), names=["vectors.bin"]) == ["vectors.bin"]
