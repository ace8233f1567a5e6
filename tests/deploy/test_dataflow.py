"""Tests jobs for Dataflow without Dataflow: the real DataflowRunner makes them, and a local server records them."""

import contextlib
import dataclasses
import http.server
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from apache_beam.portability.api import beam_runner_api_pb2 as beam_api
from packaging.requirements import Requirement

from pipeline.config import PRESETS, PipelineConfig

ROOT = Path(__file__).parents[2]
DATAFLOW = ROOT / "deploy" / "dataflow"
CONSTRAINTS = (ROOT / "deploy" / "constraints.txt").read_text().splitlines()
BEAM_VERSION = next(line.removeprefix("apache-beam==") for line in CONSTRAINTS if line.startswith("apache-beam=="))
PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
IMAGE = "europe-docker.pkg.dev/some-project/images/word2vec-beam:0.1.0-abc-20260101-000000"
STEPS = {"FindFiles", "MakeRanges", "Vocabulary", "SkipGrams", "Publish"}


@contextlib.contextmanager
def dataflow_service():
    """Runs as much of Dataflow's API as a submission needs. Yields its address and the list of requests."""
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            requests.append((self.path.split("?")[0], body))
            reply = json.dumps({**body, "id": "2026-01-01_00_00_00-42", "currentState": "JOB_STATE_RUNNING"}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def do_GET(self):
            requests.append((self.path, None))
            self.send_error(404)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("localhost", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://localhost:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()


@dataclasses.dataclass
class Submission:
    """What one command did."""

    folder: Path  # holds text/, staging/ and the output, dataset/
    result: subprocess.CompletedProcess
    requests: list  # (path, body)

    @property
    def job(self) -> dict:
        """The job: the one that was sent, or else the one in the launcher's file."""
        if self.requests:
            return self.requests[0][1]
        return json.loads((self.folder / "launch" / "job_object").read_text())

    @property
    def worker_pool(self) -> dict:
        (pool,) = self.job["environment"]["workerPools"]
        return pool

    @property
    def pipeline(self) -> beam_api.Pipeline:
        return beam_api.Pipeline.FromString((self.folder / "staging" / "pipeline.pb").read_bytes())

    @property
    def steps(self) -> set[str]:
        """The names of the job's steps."""
        return {transform.unique_name for transform in self.pipeline.components.transforms.values()}


def submit(folder: Path, command: list, form: str = "{} {}", **environment) -> Submission:
    """Runs a command with the flags that every job needs here. `form` says how it takes a flag and its value."""
    for name in ("text", "staging", "launch"):
        (folder / name).mkdir(parents=True)
    (folder / "text" / "a.txt").write_text("to be or not to be\n")
    (folder / "text" / "b b.txt").write_text("that is the question\n")
    with dataflow_service() as (address, requests):
        flags = {
            "--project": "some-project",
            "--region": "europe-west4",
            "--temp_location": folder / "staging",
            "--dataflow_endpoint": address,
        }
        words = [str(word).format(folder=folder) for word in command]
        words += [word for flag in flags.items() for word in form.format(*flag).split(" ")]
        result = subprocess.run(
            [*words, "--no_auth"],
            cwd=folder,
            env={**os.environ, "VIRTUAL_ENV": sys.prefix, **environment},  # so that nothing is installed
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert result.returncode == 0, f"{words} ended with {result.returncode}:\n{result.stdout}\n{result.stderr}"
    return Submission(folder, result, requests)


@pytest.fixture(scope="module")
def submissions(tmp_path_factory) -> dict[str, Submission]:
    """A job without an image, a job with one, and a job that the launcher of the template makes."""
    run = [DATAFLOW / "run.sh", "--input", "{folder}/text/*.txt", "--output", "{folder}/dataset"]
    launch = [
        sys.executable, DATAFLOW / "template_main.py",
        # These are parameters of the template, as the launcher passes them on.
        "--input={folder}/text/a.* '{folder}/text/b b.txt'", "--output={folder}/dataset", "--preset=tutorial",
        "--overwrite=true", "--no_shrink_windows=false", "--min_count=", "--seed=7",
        # The launcher adds these itself.
        "--runner=DataflowRunner", "--job_name=from-a-template", "--staging_location={folder}/staging",
        "--template_location={folder}/launch/job_object", '--labels={{\n  "made-by": "a-template"\n}}\n',
        "--num_workers=2", "--max_num_workers=5", "--machine_type=n2-standard-4", "--network=default",
        "--subnetwork=regions/europe-west4/subnetworks/default", "--service_account_email=a@b.iam.gserviceaccount.com",
    ]  # fmt: skip
    commands = {
        "packages": (run,),
        "image": ([*run, "--sdk_container_image", IMAGE, "--job_name=by-name", "--window_size=3"],),
        "template": (launch, "{}={}"),
    }
    template_folder = tmp_path_factory.mktemp("template")
    (template_folder / "dataset").mkdir()
    (template_folder / "dataset" / "manifest.json").write_text("{}")  # a dataset that the job replaces
    folders = {name: tmp_path_factory.mktemp(name) for name in ("packages", "image")} | {"template": template_folder}
    with ThreadPoolExecutor(2) as pool:
        jobs = {
            name: pool.submit(submit, folders[name], *arguments, TEMPLATE_IMAGE=IMAGE)
            for name, arguments in commands.items()
        }
        return {name: job.result() for name, job in jobs.items()}


@pytest.mark.parametrize("name", ["packages", "image"])
def test_a_submission_says_where_the_job_is_and_waits_for_nothing(submissions, name):
    submission = submissions[name]

    assert [path for path, _ in submission.requests] == ["/v1b3/projects/some-project/locations/europe-west4/jobs"]
    assert "2026-01-01_00_00_00-42\n" in submission.result.stdout
    assert "/dataflow/jobs/europe-west4/2026-01-01_00_00_00-42?project=some-project\n" in submission.result.stdout
    assert f"{submission.folder}/dataset" in submission.result.stdout
    assert not (submission.folder / "dataset" / "manifest.json").exists()  # the job's last step writes it


@pytest.mark.parametrize("name", ["packages", "image", "template"])
def test_the_job_is_the_whole_pipeline(submissions, name):
    submission = submissions[name]
    job = submission.job
    job_options = job["environment"]["sdkPipelineOptions"]["options"]

    assert {step.split("/")[0] for step in submission.steps if step} >= STEPS
    assert "Publish/MoveIntoPlace" in {"/".join(step.split("/")[:2]) for step in submission.steps}
    assert job["type"] in (1, "JOB_TYPE_BATCH")
    assert job_options["pipelineUrl"] == str(submission.folder / "staging" / "pipeline.pb")
    assert job_options["temp_location"] == str(submission.folder / "staging")
    assert job_options["project"] == "some-project"
    assert job_options["save_main_session"] is False
    assert "use_runner_v2" in job["environment"]["experiments"]


@pytest.mark.parametrize("name", ["packages", "image", "template"])
def test_the_console_shows_all_settings(submissions, name):
    """Among the job's options, and in what is displayed of them."""
    submission = submissions[name]
    expected = {"window_size": 5, "shrink_windows": True, "example_format": "blocks", "subsample": 0.001, "passes": 1}
    expected |= {"image": {"window_size": 3}, "template": {**PRESETS["tutorial"], "overwrite": True, "seed": 7}}.get(
        name, {}
    )
    expected["output"] = f"{submission.folder}/dataset"
    told = submission.job["environment"]["sdkPipelineOptions"]
    displayed = {item["key"]: item["value"] for item in told["display_data"]}

    assert {field.name for field in dataclasses.fields(PipelineConfig)} <= told["options"].keys()
    assert all(f"{submission.folder}/text/" in path for path in told["options"]["input"])
    for setting, value in expected.items():
        assert told["options"][setting] == displayed[setting] == value


def test_jobs_have_names(submissions):
    assert re.fullmatch(r"word2vec-\d{8}-\d{6}", submissions["packages"].job["name"])
    assert submissions["image"].job["name"] == "by-name"
    assert submissions["template"].job["name"] == "from-a-template"


def image_of(submission: Submission) -> set[str]:
    """Returns every image that the job names."""
    environments = submission.pipeline.components.environments.values()
    return {
        submission.worker_pool["workerHarnessContainerImage"],
        *(entry["containerImage"] for entry in submission.worker_pool["sdkHarnessContainerImages"]),
        *(beam_api.DockerPayload.FromString(entry.payload).container_image for entry in environments),
    }


def test_without_an_image_workers_get_beams_and_the_packages(submissions):
    submission = submissions["packages"]
    packages = {package["name"]: package["location"] for package in submission.worker_pool["packages"]}

    (image,) = image_of(submission)
    assert image.endswith(f"/beam_python{PYTHON_VERSION}_sdk:{BEAM_VERSION}")
    assert packages.keys() - {"submission_environment_dependencies.txt"} == {"requirements.txt", "workflow.tar.gz"}
    for name, location in packages.items():
        assert location == str(submission.folder / "staging" / name)
        assert Path(location).exists()


def test_the_staged_requirements_are_the_pinned_ones(submissions):
    lines = (submissions["packages"].folder / "staging" / "requirements.txt").read_text().splitlines()
    names = {Requirement(line).name for line in lines}

    assert set(lines) < set(CONSTRAINTS)
    assert {"tensorflow", "tensorflow-transform", "tfx-bsl", "pyarrow", "numpy", "protobuf", "google-crc32c"} < names
    assert not names & {"apache-beam", "word2vec-beam", "pytest", "gensim", "tensorboard"}
    for name in names:  # whatever a package requires is in the list as well
        for text in importlib.metadata.requires(name) or ():
            child = Requirement(text)
            if child.marker is None or child.marker.evaluate({"extra": ""}):
                canonical = {re.sub("[-_.]+", "-", each).lower() for each in names}
                assert re.sub("[-_.]+", "-", child.name).lower() in canonical | {"apache-beam"}, f"{name}: {text}"


@pytest.fixture(scope="module")
def unpacked(submissions, tmp_path_factory) -> Path:
    """The folder in which a worker has unpacked the project."""
    folder = tmp_path_factory.mktemp("unpacked")
    shutil.unpack_archive(submissions["packages"].folder / "staging" / "workflow.tar.gz", folder)
    (project,) = folder.iterdir()
    return project


def test_the_staged_archive_is_the_checkout(unpacked):
    for package in ("pipeline", "trainer"):
        sources, sent = (
            {path.relative_to(root): path.read_bytes() for path in (root / package).rglob("*.py")}
            for root in (ROOT, unpacked)
        )
        assert len(sources) > 10 and sent == sources


# Loads all functions of some jobs as a worker does. Prints how many there are and which settings they hold.
WORKER = """
import dataclasses, gc, json, pathlib, sys
from apache_beam.internal import pickler
from apache_beam.portability.api import beam_runner_api_pb2 as beam_api
import pipeline.config
print(pipeline.config.__file__)
for path in sys.argv[1:]:
    job = beam_api.Pipeline.FromString(pathlib.Path(path).read_bytes())
    steps = [step.spec for step in job.components.transforms.values() if step.spec.urn == "beam:transform:pardo:v1"]
    functions = [beam_api.ParDoPayload.FromString(step.payload).do_fn for step in steps]
    loaded = [pickler.loads(f.payload) for f in functions if f.urn == "beam:dofn:pickled_python_info:v1"]
    configs = {config for config in gc.get_objects() if isinstance(config, pipeline.config.PipelineConfig)}
    print(json.dumps([len(loaded), [dataclasses.asdict(config) for config in configs]]))
    del loaded, configs
    gc.collect()
"""


def test_workers_can_load_every_function_and_find_the_settings(submissions, unpacked):
    """They have only the archive that was sent. The job of the template was pickled in the launcher's main program."""
    result = subprocess.run(
        [
            *(sys.executable, "-P", "-c", WORKER),
            *(submission.folder / "staging" / "pipeline.pb" for submission in submissions.values()),
        ],
        cwd=unpacked,
        env={**os.environ, "PYTHONPATH": str(unpacked), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    path, *lines = result.stdout.splitlines()
    assert path == str(unpacked / "pipeline" / "config.py")

    text = {name: f"{submission.folder}/text" for name, submission in submissions.items()}
    expected = {
        "packages": {"input": (f"{text['packages']}/*.txt",)},
        "image": {"input": (f"{text['image']}/*.txt",), "window_size": 3},
        "template": {
            **PRESETS["tutorial"],
            "input": (f"{text['template']}/a.*", f"{text['template']}/b b.txt"),
            "overwrite": True,
            "seed": 7,
        },
    }
    for line, (name, submission) in zip(lines, submissions.items(), strict=True):
        number, (settings,) = json.loads(line)
        config = PipelineConfig(**{**settings, "input": tuple(settings["input"])})
        assert config == PipelineConfig(output=f"{submission.folder}/dataset", **expected[name])
        assert number > 10


@pytest.mark.parametrize("name", ["image", "template"])
def test_in_an_image_nothing_is_installed(submissions, name):
    submission = submissions[name]

    assert image_of(submission) == {IMAGE}
    packages = {package["name"] for package in submission.worker_pool["packages"]}
    assert packages <= {"submission_environment_dependencies.txt"}


def test_the_launcher_writes_the_job_and_sends_nothing(submissions):
    submission = submissions["template"]

    assert submission.requests == []
    assert str(submission.folder / "launch" / "job_object") in submission.result.stdout
    assert submission.worker_pool["numWorkers"] == 2
    assert submission.worker_pool["machineType"] == "n2-standard-4"
    assert submission.job["labels"] == {"made-by": "a-template"}
    assert (submission.folder / "dataset" / "manifest.json").read_text() == "{}"  # until the job replaces it
