"""TensorBoard itself shows what a run writes for its Projector: over its HTTP interface, and in a browser."""

import contextlib
import json
import re
import shutil
import time
import urllib.parse
import urllib.request
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

from tests import forked
from tests.browser import open_browser
from tests.trainer.test_training import task
from trainer import projector, word2vec_format
from trainer.dataset import Dataset
from trainer.errors import UserError

RUN = "0123456789abcdef"
FOLDER = "projector-01234567"

# The element with the Projector, which is in a frame and several shadow trees below the page.
ELEMENT = """
const found = (root) => {
  for (const element of root.querySelectorAll("*")) {
    if (element.tagName == "VZ-PROJECTOR") return element;
    const inner = [element.shadowRoot, element.tagName == "IFRAME" ? element.contentDocument : null];
    for (const one of inner) { const result = one && found(one); if (result) return result; }
  }
};
const projector = found(document);
"""
LABELS = ELEMENT + "return projector.dataSet.points.map((point) => point.metadata.word);"
PANEL = ELEMENT + "const panel = projector.shadowRoot.querySelector('#inspector-panel').shadowRoot;"
SEARCH = f"""{PANEL}
panel.querySelector("#search-box").setValue(arguments[0], false);
panel.querySelector(`.matches-list a[title="${{arguments[0]}}"]`)?.click();  // the only match is chosen anyway
"""
NEIGHBORS = f"""{PANEL}
const rows = [...panel.querySelectorAll(".nn-list .neighbor")].slice(0, 5);
return rows.map((row) => [row.querySelector(".label").innerText, row.querySelector(".value").innerText]);
"""
# How many pixels of a picture have the colour of the points: more blue than red and green.
COUNT_POINTS = """
const [base64, done] = arguments;
const image = new Image();
image.onload = () => {
  const canvas = new OffscreenCanvas(image.width, image.height), context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, image.width, image.height).data;
  let count = 0;
  for (let i = 0; i < pixels.length; i += 4) count += pixels[i + 2] > pixels[i] + 60 && pixels[i + 2] > pixels[i + 1] + 60;
  done(count);
};
image.src = "data:image/png;base64," + base64;
"""  # noqa: E501


class Client:
    """Asks a TensorBoard, at some address, about its Projector."""

    def __init__(self, url):
        self.url = url

    def get(self, path, **query):
        query = urllib.parse.urlencode(query)
        with urllib.request.urlopen(f"{self.url}data/{path}?{query}", timeout=30) as answer:
            return answer.read()

    def runs(self):
        return json.loads(self.get("plugin/projector/runs"))

    def shown(self, run):
        """The vectors, and the rows of the metadata with their header."""
        (embedding,) = json.loads(self.get("plugin/projector/info", run=run))["embeddings"]
        query = {"run": run, "name": embedding["tensorName"]}
        numbers = np.frombuffer(self.get("plugin/projector/tensor", **query), np.float32)
        lines = self.get("plugin/projector/metadata", **query).decode().removesuffix("\n").split("\n")
        return numbers.reshape(embedding["tensorShape"]), [tuple(line.split("\t")) for line in lines]


@contextlib.contextmanager
def tensorboard(log_dir, folder):
    """Runs TensorBoard. Its address is free, and only this machine can use it."""
    output = folder / "tensorboard.txt"
    flags = ("--logdir", log_dir, "--port", 0, "--load_fast", "false", "--reload_interval", 1)
    with open(output, "wb") as file:
        process = forked.server("trainer").start("-m", "tensorboard.main", *flags, stderr=file.fileno())
    try:
        deadline = time.monotonic() + 60
        while not (address := re.search(r"http://localhost:\d+/", output.read_text())):
            assert process.poll() is None and time.monotonic() < deadline, output.read_text()
            time.sleep(0.05)
        yield Client(address[0])
    finally:
        process.kill()
        process.wait(10)


@pytest.fixture(scope="module")
def client(model_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tensorboard")
    shutil.copytree(model_dir / "logs", folder / "moved")  # no path in the files is absolute
    with tensorboard(folder / "moved", folder) as client:
        yield client


def dataset_of(words, counts):
    """A dataset with nothing but a vocabulary."""
    lines = [f"{word}\t{count}\n" for word, count in zip(["[PAD]", "[UNK]", *words], [0, 7, *counts])]
    return Dataset("", SimpleNamespace(vocab_size=len(lines)), "", "".join(lines).encode(), {})


def write(dataset, table, log_dir, num_words=10_000, sizes=None, run=RUN):
    """Lets the pieces of a table pass; `sizes` are their numbers of rows. Returns the pieces that came out."""
    pieces = [table] if sizes is None else np.split(table, np.cumsum(sizes)[:-1])
    with projector.writing(dataset, str(log_dir), run, num_words) as watched:
        return list(watched(iter(pieces)))


def written(log_dir, folder=FOLDER):
    """The vectors, and the rows of the metadata below their header."""
    header, *lines = (log_dir / folder / "metadata.tsv").read_text().removesuffix("\n").split("\n")
    assert header == "word\tcount"
    vectors = np.loadtxt(log_dir / folder / "vectors.tsv", delimiter="\t", dtype=np.float32, ndmin=2)
    return vectors, [tuple(line.split("\t")) for line in lines]


# What TensorBoard shows


def test_tensorboard_serves_the_words_of_a_run_with_their_counts_and_vectors(client, model_dir, dataset_dir):
    (run,) = client.runs()
    vectors, (header, *rows) = client.shown(run)

    model = word2vec_format.load(str(model_dir / "vectors.bin"))
    lines = (dataset_dir / "vocabulary.tsv").read_text().splitlines()[2:]
    assert header == ("word", "count")
    assert rows == [tuple(line.split("\t")) for line in lines]
    assert [word for word, _ in rows] == model.words
    np.testing.assert_array_equal(vectors, model.vectors)
    assert run == "projector-" + json.loads((model_dir / "metrics.json").read_text())["run"][:8]


def test_the_tab_shows_points_and_labels_in_a_browser(client, model_dir):
    model = word2vec_format.load(str(model_dir / "vectors.bin"))
    with open_browser() as browser:
        browser.open(f"{client.url}#projector")
        browser.wait(f"(() => {{ {ELEMENT} return projector && projector.dataSet }})()")
        assert browser.run(LABELS) == model.words
        browser.wait(f"(() => {{ {ELEMENT} return projector.projection }})()")
        image = browser.driver.get_screenshot_as_base64()
        assert browser.driver.execute_async_script(COUNT_POINTS, image) > 5 * len(model.words)
        browser.run(SEARCH, "cat")
        shown = browser.run(NEIGHBORS)
        assert browser.problems() == []
        assert browser.foreign_requests() == []
    row = model.index["cat"]  # with 50 dimensions or more, the tab would first subtract the mean of all vectors
    nearest = model.nearest(model.vectors[row], 5, exclude=[row])
    assert shown == [[word, f"{1 - cosine:.3f}"] for word, cosine in nearest]


def test_a_tensorboard_that_runs_shows_the_words_of_each_new_run(tmp_path):
    """It is not mixed up, although TensorBoard keeps the vectors that it has shown."""
    logs = tmp_path / "logs"
    logs.mkdir()
    old, new = dataset_of("abcd", [4, 3, 2, 1]), dataset_of("vwxyz", [5, 4, 3, 2, 1])
    with tensorboard(logs, tmp_path) as client:
        assert client.runs() == []
        for dataset, run in ((old, "a" * 32), (new, "b" * 32)):
            table = np.random.default_rng(len(dataset.words())).normal(size=(len(dataset.words()), 3))
            write(dataset, table.astype(np.float32), logs, run=run)
            deadline = time.monotonic() + 30
            while client.runs() != [f"projector-{run[:8]}"] and time.monotonic() < deadline:
                time.sleep(0.2)
            vectors, rows = client.shown(f"projector-{run[:8]}")
            assert [word for word, _ in rows[1:]] == dataset.words()[2:]
            np.testing.assert_array_equal(vectors, table.astype(np.float32)[2:])


# What is written


@pytest.mark.parametrize("num_words", [1, 3, 4, 6, 100])
def test_the_most_frequent_words_are_taken_by_count_in_the_order_of_the_vocabulary(num_words, tmp_path):
    """As with --vocabulary, where words are not in the order of their counts."""
    words, counts = ["a", "b", "c", "d", "e", "f"], [3, 9, 0, 9, 3, 5]
    table = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)
    write(dataset_of(words, counts), table, tmp_path, num_words)

    taken = sorted(sorted(range(6), key=lambda row: (-counts[row], row))[:num_words])
    vectors, rows = written(tmp_path)
    assert rows == [(words[row], str(counts[row])) for row in taken]
    np.testing.assert_array_equal(vectors, table[2:][taken])


@pytest.mark.parametrize("sizes", [[8], [4, 4], [1] * 8, [3, 4, 1], [2, 6]], ids=str)
def test_the_table_comes_in_pieces_of_any_size_and_goes_on_as_it_is(sizes, tmp_path):
    table = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)
    given_on = write(dataset_of("abcdef", [1, 2, 3, 4, 5, 6]), table, tmp_path, 4, sizes)

    assert [len(piece) for piece in given_on] == sizes
    np.testing.assert_array_equal(np.concatenate(given_on), table)
    np.testing.assert_array_equal(written(tmp_path)[0], table[4:])


def test_one_piece_at_a_time_is_held(tmp_path):
    alive = []

    def pieces():
        for _ in range(3):
            piece = np.zeros([2, 5], np.float32)
            alive.append(weakref.ref(piece))
            assert [each() is not None for each in alive[:-1]] == [False] * (len(alive) - 1)
            yield piece
            del piece

    with projector.writing(dataset_of("abcd", [1] * 4), str(tmp_path), RUN, 10) as watched:
        for piece in watched(pieces()):
            del piece


ODD_WORDS = [
    '"quoted',
    "'",
    "=HYPERLINK(1)",
    "\u2028",
    "\u00a0",
    "\u3000",
    "\x85",
    "\x1c",
    "#",
    "a,b",
    "\\t",
    "__proto__",
]


def test_rows_stay_aligned_whatever_the_words_are(tmp_path):
    (tmp_path / "logs").mkdir()
    table = np.random.default_rng(0).normal(size=(len(ODD_WORDS) + 2, 3)).astype(np.float32)
    counts = range(len(ODD_WORDS), 0, -1)
    write(dataset_of(ODD_WORDS, counts), table, tmp_path / "logs")

    with tensorboard(tmp_path / "logs", tmp_path) as client:
        vectors, rows = client.shown(FOLDER)
    assert rows == [("word", "count"), *zip(ODD_WORDS, map(str, counts))]
    np.testing.assert_array_equal(vectors, table[2:])


@pytest.mark.parametrize("value", [0.0, -0.0, 1e-30, 2.0**-126, 3.4e38, 0.1, 1 / 3])
def test_numbers_stay_the_same(value, tmp_path):
    """TensorBoard would take a file of zeros, if it were no text, for a text."""
    table = np.full([3, 1], value, np.float32)
    write(dataset_of("a", [1]), table, tmp_path)

    np.testing.assert_array_equal(written(tmp_path)[0], table[2:])


# What was there


@pytest.fixture
def earlier(tmp_path):
    """A folder of logs with the words of an earlier run, one of a run that was killed, and what is the user's own."""
    write(dataset_of("old", [3, 2, 1]), np.ones([5, 2], np.float32), tmp_path, run="e" * 32)
    (tmp_path / "projector-00000000").mkdir()
    (tmp_path / "projector-00000000" / "vectors.tsv").write_text("0.1\t0.")
    (tmp_path / "projector-mine").mkdir()
    (tmp_path / "projector-mine" / "notes").touch()
    (tmp_path / "events").touch()
    return tmp_path


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_new_words_replace_those_of_earlier_runs_and_nothing_else(earlier):
    write(dataset_of("new", [3, 2, 1]), np.zeros([5, 2], np.float32), earlier)

    assert names_in(earlier) == ["events", FOLDER, "projector-mine"]
    assert names_in(earlier / FOLDER)[1:] == ["metadata.tsv", "projector_config.pbtxt", "vectors.tsv"]
    assert [word for word, _ in written(earlier)[1]] == list("new")
    assert names_in(earlier / "projector-mine") == ["notes"]


def test_a_run_that_goes_on_writes_its_words_again(earlier):
    write(dataset_of("new", [3, 2, 1]), np.zeros([5, 2], np.float32), earlier, run="e" * 32)

    assert [word for word, _ in written(earlier, "projector-eeeeeeee")[1]] == list("new")


def test_no_words_leave_no_folder(earlier):
    table = np.zeros([5, 2], np.float32)
    assert write(dataset_of("new", [3, 2, 1]), table, earlier, num_words=0)[0] is table

    assert names_in(earlier) == ["events", "projector-mine"]


def test_a_failure_leaves_the_words_that_were_there(earlier):
    before = names_in(earlier)
    with pytest.raises(UserError), projector.writing(dataset_of("abc", [1] * 3), str(earlier), RUN, 10) as watched:
        for _ in watched(iter([np.zeros([2, 2], np.float32)] * 2)):
            assert FOLDER in names_in(earlier)
        raise UserError("the dataset has been replaced")

    assert names_in(earlier) == before
    assert written(earlier, "projector-eeeeeeee")[1] == [("o", "3"), ("l", "2"), ("d", "1")]


def test_paths_of_tensorflow_can_be_used():
    from tensorflow.io import gfile

    table = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    write(dataset_of("ab", [2, 1]), table, "ram://logs")

    with gfile.GFile(f"ram://logs/{FOLDER}/metadata.tsv") as file:
        assert file.read() == "word\tcount\na\t2\nb\t1\n"


def test_flags_say_how_many_and_where(dataset_dir, tmp_path):
    task(dataset_dir, tmp_path / "model", "--epochs", 1, "--projector_words", 3, "--log_dir", tmp_path / "logs")
    (folder,) = (tmp_path / "logs").glob("projector-*")

    vectors, rows = written(tmp_path / "logs", folder.name)
    lines = (dataset_dir / "vocabulary.tsv").read_text().splitlines()[2:5]
    assert rows == [tuple(line.split("\t")) for line in lines]
    model = word2vec_format.load(str(tmp_path / "model" / "vectors.bin"))
    np.testing.assert_array_equal(vectors, model.vectors[:3])
