"""Tests the pipeline's image in deploy/image and the scripts of deploy/dataflow.

gcloud and docker are replaced by programs that only write down what they are told.
"""

import importlib.metadata
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from tests.deploy.dockerfile import instructions

ROOT = Path(__file__).parents[2]
DATAFLOW = ROOT / "deploy" / "dataflow"
DOCKERFILE = ROOT / "deploy" / "image" / "Dockerfile"
CONSTRAINTS = (ROOT / "deploy" / "constraints.txt").read_text().splitlines()
BEAM_VERSION = next(line.removeprefix("apache-beam==") for line in CONSTRAINTS if line.startswith("apache-beam=="))
IMAGE = "europe-docker.pkg.dev/some-project/images/word2vec-beam:0.1.0-abc-20260101-000000"


def test_everything_that_is_copied_is_there():
    stages = {words.split(" AS ")[1] for name, words in instructions(DOCKERFILE) if name == "FROM" and " AS " in words}
    for name, words in instructions(DOCKERFILE):
        if name == "COPY":
            *sources, _ = words.split()
            if sources[0].startswith("--from="):
                assert sources[0].removeprefix("--from=") in stages
            else:
                assert all((ROOT / source).exists() for source in sources), words


def test_every_variable_is_an_argument_where_it_is_used():
    """An ARG above the first FROM is for FROM instructions only, unless a later ARG repeats its name."""
    image = ""
    declared = {image: set()}
    for name, words in instructions(DOCKERFILE):
        if name == "FROM":
            used, image = declared[""], words
            declared[image] = set()
        else:
            used = declared[image]
        assert set(re.findall(r"\$\{?(\w+)", words)) <= used, words
        if name == "ARG":
            declared[image].add(words.split("=")[0])


def test_the_build_checks_what_it_installed():
    commands = " ".join(words for name, words in instructions(DOCKERFILE) if name == "RUN")

    assert "&& pip check" in commands
    assert 'python -c "import pipeline.job.runner"' in commands


def test_the_image_is_worker_and_launcher():
    lines = instructions(DOCKERFILE)
    variables = dict(words.split("=", 1) for name, words in lines if name == "ENV")

    assert ("COPY", "--from=sdk /opt/apache/beam /opt/apache/beam") in lines
    launcher = "/opt/google/dataflow/python_template_launcher"
    assert ("COPY", f"--from=launcher {launcher} {launcher}") in lines
    assert variables["FLEX_TEMPLATE_PYTHON_PY_FILE"] == "/template/template_main.py"
    assert ("COPY", "deploy/dataflow/template_main.py /template/") in lines
    assert variables["TEMPLATE_IMAGE"] == "${IMAGE}"


def base_images() -> dict[str, str]:
    """The images on which the image builds, by their arguments' names."""
    return dict(words.split("=") for name, words in instructions(DOCKERFILE) if name == "ARG" and "=" in words)


def test_beams_version_is_the_same_everywhere():
    declared = re.findall(r'"(apache-beam.*?)"', (ROOT / "setup.py").read_text())

    assert len(declared) == 2
    assert all(Requirement(text).specifier.contains(BEAM_VERSION) for text in declared)
    assert importlib.metadata.version("apache-beam") == BEAM_VERSION
    assert base_images()["SDK"].split("@")[0].endswith(f":{BEAM_VERSION}")


def test_the_base_images_fit_together():
    """All are of one Python, which is supported, and each is pinned by a tag that does not move with releases."""
    images = {name: image.split("@")[0] for name, image in base_images().items()}
    python = re.fullmatch(r"python:(3\.\d+)-slim-\w+", images["BASE"])[1]

    assert python in ("3.11", "3.12", "3.13")
    assert f"python{python}_sdk:" in images["SDK"]
    assert f"/python{python.replace('.', '')}-" in images["LAUNCHER"]
    assert not [image for image in images.values() if image.endswith(":latest") or ":" not in image]
    assert {words.split(" AS ")[0] for name, words in instructions(DOCKERFILE) if name == "FROM"} == {
        "${" + name + "}" for name in images
    }


def test_cloud_build_does_what_the_script_asks():
    build = yaml.safe_load(DOCKERFILE.with_name("cloudbuild.yaml").read_text())
    (step,) = build["steps"]
    given = {"_IMAGE"}
    assert re.findall(r"--substitutions=(\w+)=", dry_run()) == ["_IMAGE"]

    assert set(re.findall(r"\$(_\w+)", json.dumps(build))) == given
    assert "--file=deploy/image/Dockerfile" in step["args"]
    arguments = {text.split("=")[1] for text in step["args"] if text.startswith("--build-arg=")}
    assert arguments == {words for name, words in instructions(DOCKERFILE) if name == "ARG" and "=" not in words}
    assert build["images"] == ["$_IMAGE"]


REPOSITORY = "europe-docker.pkg.dev/some-project/images"
TARGET = ["--project", "some-project", "--repository", "europe-docker.pkg.dev/some-project/images"]
TARGET += ["--templates=gs://some-bucket/templates"]
JOB = ["--project", "p", "--region=r", "--temp_location", "gs://b/t", "--input", "gs://b/a*", "--output=gs://b/d"]


def script(name: str, *arguments: str, path: str | None = None, **environment: str) -> subprocess.CompletedProcess:
    """Runs a script, in a folder other than its own."""
    folder = DOCKERFILE.parent if name == "build.sh" else DATAFLOW
    return subprocess.run(
        [folder / name, *arguments],
        capture_output=True,
        text=True,
        cwd="/",
        env={**os.environ, "PATH": path or os.environ["PATH"], **environment},
        timeout=300,
    )


def dry_run(*arguments: str) -> str:
    """Returns what a dry run of build_template.sh prints."""
    result = script("build_template.sh", *TARGET, "--dry_run", *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture
def tools(tmp_path) -> dict[str, str]:
    """An environment whose gcloud and docker only write down their arguments. The one that FAIL names fails."""
    recorder = '#!/bin/sh\n{ printf "%s\\037" "${0##*/}" "$@"; echo; } >>"$CALLS"\n[ "$FAIL" != "${0##*/}" ]\n'
    for name in ("gcloud", "docker"):
        (tmp_path / name).write_text(recorder)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "calls").touch()
    return {"path": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(tmp_path / "calls")}


def calls(tools: dict[str, str]) -> list[list[str]]:
    """Returns the commands that gcloud and docker were given."""
    return [line.split("\037")[:-1] for line in Path(tools["CALLS"]).read_text().splitlines()]


@pytest.mark.parametrize("docker", [False, True])
def test_building_pushes_an_image_and_writes_a_template_of_its_name(tools, docker):
    result = script("build_template.sh", *TARGET, *["--docker"] * docker, **tools)

    assert result.returncode == 0, result.stderr
    *build, template = calls(tools)
    (file,) = re.findall(r"gs://some-bucket/templates/word2vec-beam-(\S+)[.]json", template[4])
    image = f"europe-docker.pkg.dev/some-project/images/word2vec-beam:{file}"
    assert re.fullmatch(r"\d+[.]\d+[.]\d+-(no-commit|[0-9a-f]{12}(-changed)?)-\d{8}-\d{6}", file)
    assert template[:4] == ["gcloud", "dataflow", "flex-template", "build"]
    assert {f"--image={image}", "--sdk-language=PYTHON", "--project=some-project"} < set(template)
    assert "--metadata-file=deploy/dataflow/metadata.json" in template
    if docker:
        assert build[0][:2] == ["docker", "build"] and build[0][-1] == "."
        assert {f"--tag={image}", f"--build-arg=IMAGE={image}"} < set(build[0])
        assert build[1:] == [["docker", "push", image]]
    else:
        assert [command[:4] for command in build] == [["gcloud", "builds", "submit", "."]]
        assert f"--substitutions=_IMAGE={image}" in build[0]
    assert result.stdout.count(image) >= 3  # the last lines say what to run next


def test_the_image_alone_is_built_by_cloud_build_or_docker(tools):
    target = ["--repository", f"{REPOSITORY}/", "--tag=v7"]
    by_cloud_build = script("build.sh", *target, "--project=some-project", **tools)
    by_docker = script("build.sh", *target, "--docker", **tools)  # which needs no project

    image = f"{REPOSITORY}/word2vec-beam:v7"
    for result in (by_cloud_build, by_docker):
        assert result.returncode == 0, result.stderr
        assert result.stdout.splitlines()[-1].split() == ["image", image]
    submit, build, push = calls(tools)
    assert submit[:4] == ["gcloud", "builds", "submit", "."]
    assert {
        "--project=some-project",
        "--config=deploy/image/cloudbuild.yaml",
        f"--substitutions=_IMAGE={image}",
    } < set(submit)
    assert build[:2] == ["docker", "build"] and build[-1] == "."
    assert {f"--build-arg=IMAGE={image}", f"--tag={image}"} < set(build)
    assert push == ["docker", "push", image]


def test_the_template_has_the_image_that_is_built_alone(tools):
    assert script("build.sh", *TARGET[:4], "--tag=v7", **tools).returncode == 0
    assert script("build_template.sh", *TARGET, "--tag=v7", **tools).returncode == 0

    alone, with_template, _ = calls(tools)
    assert alone == with_template


@pytest.mark.parametrize("tool", ["docker", "gcloud"])
def test_no_template_without_an_image(tools, tool):
    result = script("build_template.sh", *TARGET, *["--docker"] * (tool == "docker"), **tools, FAIL=tool)

    assert result.returncode != 0
    assert len(calls(tools)) == 1
    assert "Next:" not in result.stdout


@pytest.mark.parametrize("name, arguments", [("build_template.sh", TARGET), ("build.sh", TARGET[:4]), ("run.sh", JOB)])
def test_a_dry_run_runs_nothing(tools, name, arguments):
    result = script(name, *arguments, "--dry_run", **tools)

    assert result.returncode == 0
    assert calls(tools) == []
    assert result.stdout.startswith("$ ")


def test_a_dry_run_of_a_job_says_what_workers_install():
    plain = script("run.sh", *JOB, "--dry_run", "--max_num_workers", "50", VIRTUAL_ENV="").stdout
    in_image = script("run.sh", *JOB, "--dry_run", "--sdk_container_image", IMAGE, VIRTUAL_ENV="/mine").stdout

    assert plain.replace("\\", "").startswith(
        f"$ {ROOT}/deploy/local/setup_venv.sh pipeline,gcp\n$ {ROOT}/.venv/bin/python "
    )
    assert in_image.startswith("$ /mine/bin/python -P -m pipeline ")

    assert f"--setup_file {ROOT}/setup.py --requirements_file" in plain
    assert "--requirements_cache skip" in plain
    assert plain.splitlines()[-1].endswith("--output=gs://b/d --max_num_workers 50")
    assert f"--sdk_container_image {IMAGE}" in in_image
    assert "--setup_file" not in in_image and "requirements" not in in_image
    for text in (plain, in_image):
        assert "-m pipeline --runner=DataflowRunner" in text
        assert re.search(r"--job_name word2vec-\d{8}-\d{6} ", text)


def test_a_tag_of_ones_own():
    assert "images/word2vec-beam:v7 " in dry_run("--tag", "v7")
    assert "gs://some-bucket/templates/word2vec-beam-v7.json" in dry_run("--tag=v7")


def without(arguments: list[str], flag: str) -> list[str]:
    """Returns the arguments without a flag and its value."""
    for index, argument in enumerate(arguments):
        if argument.split("=")[0] == flag:
            return arguments[:index] + arguments[index + (1 if "=" in argument else 2) :]
    raise ValueError(flag)


@pytest.mark.parametrize(
    "name, arguments, message",
    [
        ("build_template.sh", [], "--project is missing"),
        ("build_template.sh", ["--project"], "--project has no value"),
        ("build_template.sh", ["--project", "--docker"], "--project has no value"),
        ("build_template.sh", [*TARGET, "--projects=x"], "unknown argument --projects: expected --project,"),
        ("build_template.sh", [*TARGET, "stray"], "unknown argument stray"),
        ("build_template.sh", without(TARGET, "--repository"), "--repository is missing: expected such as"),
        ("build_template.sh", [*TARGET, "--repository=My/Images"], "--repository My/Images: expected such as"),
        ("build_template.sh", [*TARGET, "--templates=templates"], "--templates templates: expected gs://BUCKET/FOLDER"),
        ("build_template.sh", [*TARGET, "--tag=latest"], "--tag latest: expected a new name"),
        ("build_template.sh", [*TARGET, "--tag=a b"], "--tag a b: expected a new name"),
        ("build.sh", [], "--repository is missing: expected such as"),
        ("build.sh", TARGET[2:4], "--project is missing: Cloud Build needs it"),
        ("build.sh", [*TARGET[:4], "--tag="], "--tag has no value"),
        ("build.sh", [*TARGET[:4], "--tag=latest"], "--tag latest: expected a new name"),
        ("build.sh", TARGET, "unknown argument --templates: expected --repository,"),
        *[("run.sh", without(JOB, flag), f"{flag} is missing") for flag in ("--project", "--region", "--input")],
        *[("run.sh", without(JOB, flag), f"{flag} is missing") for flag in ("--temp_location", "--output")],
        ("run.sh", [*JOB, "--runner=FlinkRunner"], "--runner=FlinkRunner: this script is for DataflowRunner"),
        ("run.sh", [*JOB, "--sdk_container_image"], "--sdk_container_image has no value"),
        ("run.sh", [*JOB, "--sdk_container_image="], "--sdk_container_image has no value"),
        ("run.sh", [*JOB, "--job_name=My_Job"], "--job_name My_Job: expected lower case letters"),
    ],
)
def test_scripts_refuse(tools, name, arguments, message):
    result = script(name, *arguments, **tools)

    assert result.returncode == 2
    assert result.stderr.startswith(f"{name}: {message}") and result.stderr.count("\n") == 1
    assert not result.stdout
    assert calls(tools) == []


@pytest.mark.parametrize(
    "name, flags",
    [
        ("build_template.sh", "--project --repository --templates --tag --docker --dry_run"),
        ("build.sh", "--project --repository --tag --docker --dry_run"),
        ("run.sh", "--project --region --temp_location --input --output --sdk_container_image --job_name --dry_run"),
    ],
)
def test_scripts_have_help(name, flags):
    result = script(name, "--help")

    assert result.returncode == 0
    for flag in flags.split():
        assert flag in result.stdout


def test_without_gcloud_it_says_so(tmp_path):
    for tool in ("bash", "sed", "git", "date", "dirname", "grep"):
        (tmp_path / tool).symlink_to(subprocess.check_output(["which", tool], text=True).strip())

    result = script("build_template.sh", *TARGET, path=str(tmp_path))

    assert result.returncode == 2
    assert "gcloud is not on the PATH" in result.stderr
