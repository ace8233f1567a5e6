"""What a user gives to a script arrives literally in the job, or is refused. What scripts print can be pasted."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
VALUES = {
    "line break": "a\nimage: b",
    "quotes": """it's "b" 'c' ''""",
    "dollar": "$HOME $(id) $(TF_CPP_MIN_LOG_LEVEL) ${X} $$ $",
    "backtick": "`id`",
    "placeholder": "@SERVICE_ACCOUNT@",
    "spaces": " a  b ",
    "not ASCII": "ü 語 \x85\u2028\ufeff \U0001f600",
    "backslash": "a\\n\\\\ \\",
    "YAML": "a: {b: [c]} # &d *e !f | > - ? %",
    "control": "a\tb\x1b[31m\x7f",
    "semicolon": "a; id & id | id",
    "not UTF-8": "a\udcff",
}
GOOD = {
    "flink/kubernetes.sh": {
        "--image": "registry.example/word2vec-beam:0.1.0",
        "--input": "gs://b/*.txt",
        "--output": "gs://b/dataset",
    },
    "kubernetes/trainer.sh": {
        "--image": "registry.example/word2vec-trainer:0.1.0",
        "--data": "gs://b/dataset",
        "--output": "gs://b/model",
    },
    "vertex/upload_model.sh": {"--project": "p", "--region": "r", "--model": "gs://b/model"},
    "vertex/run.sh": {
        "--project": "p",
        "--region": "r",
        "--image": "registry.example/word2vec-trainer:0.1.0",
        "--data": "gs://b/dataset",
        "--output": "gs://b/model",
    },
}
OTHERS = {
    "vertex/upload_model.sh": (
        "--project --region --name --parent_model --serving_image --endpoint --machine_type --replicas "
        "--service_account"
    ),
    "flink/kubernetes.sh": (
        "--image --flink_image --name --namespace --task_managers --slots --worker_memory --volume_claim "
        "--service_account"
    ),
    "kubernetes/trainer.sh": (
        "--image --machines --gpus --cpus --memory --volume_claim --service_account --node_selector --restarts "
        "--timeout_hours --name --namespace"
    ),
    "vertex/run.sh": (
        "--project --region --image --machine_type --accelerator --accelerator_count --replicas --disk_gb "
        "--timeout_hours --service_account --network --tensorboard --labels --job_name"
    ),
}


def run(script, *args, **environment):
    return subprocess.run(
        [DEPLOY / script, *args], capture_output=True, text=True, env={**os.environ, **environment}, errors="replace"
    )


def flags(script, changes):
    return [word for flag in {**GOOD[script], **changes}.items() for word in flag]


def strings(document):
    """All texts in a document."""
    if isinstance(document, dict | list):
        values = document.values() if isinstance(document, dict) else document
        return {text for value in values for text in strings(value)}
    return {document}


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("script, flag", [(script, flag) for script in OTHERS for flag in OTHERS[script].split()])
def test_a_flag_with_simple_values_refuses_the_others(script, flag, value):
    bad = GOOD[script].get(flag, "a") + VALUES[value]
    result = run(script, *flags(script, {flag: bad}), *(["--dry_run"] if script.startswith("vertex/") else []))
    if value == "placeholder" and result.returncode == 0:  # "@" is for accounts and for an image's digest
        documents = list(yaml.safe_load_all(result.stdout.partition("\n\n")[0]))
        assert bad in strings(documents) or bad in result.stdout.partition("\n\n")[2] or f"={bad} " in result.stdout
        return
    assert result.returncode == 2 and not result.stdout
    assert result.stderr.startswith(f"{Path(script).name}: {flag} ") and result.stderr.count("\n") == 1
    assert "\x1b" not in result.stderr


def expanded(argument):
    """What Kubernetes makes of an argument: it replaces $(NAME) if it knows the name, and $$ by $."""
    known = {"TF_CPP_MIN_LOG_LEVEL": "3"}
    return re.sub(r"\$(?:\((\w+)\)|\$)", lambda found: known.get(found[1], found[0]) if found[1] else "$", argument)


@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
@pytest.mark.parametrize("value", [value for value in VALUES if value != "not UTF-8"])
def test_the_pipeline_on_kubernetes_gets_every_value_literally(value, locale):
    path = f"gs://b/{VALUES[value]}"
    given = {"--input": path, "--output": path, "--oov": VALUES[value]}
    result = run("flink/kubernetes.sh", *flags("flink/kubernetes.sh", given), LC_ALL=locale)

    assert result.returncode == 0, result.stderr
    documents = list(yaml.safe_load_all(result.stdout))
    assert documents == [json.loads(text) for text in result.stdout.split("---\n")[1:]]
    cluster, job = documents
    (launcher,) = job["spec"]["template"]["spec"]["containers"]
    assert [expanded(argument) for argument in launcher["args"]][-6:] == [
        word for each in given.items() for word in each
    ]
    assert launcher["image"] == GOOD["flink/kubernetes.sh"]["--image"]
    assert [cluster["kind"], job["kind"]] == ["FlinkDeployment", "Job"]


@pytest.mark.parametrize("value", [value for value in VALUES if value != "not UTF-8"])
def test_the_trainer_on_kubernetes_gets_every_value_literally(value):
    path = f"gs://b/{VALUES[value]}"
    given = {"--data": path, "--output": path}
    result = run("kubernetes/trainer.sh", *flags("kubernetes/trainer.sh", given), "--machines", "2")

    assert result.returncode == 0, result.stderr
    documents = list(yaml.safe_load_all(result.stdout))
    assert documents == [json.loads(text) for text in result.stdout.split("---\n")[1:]]
    (trainer,) = documents[-1]["spec"]["template"]["spec"]["containers"]
    assert [expanded(argument) for argument in trainer["args"]] == [
        *(w for each in given.items() for w in each),
        *("--wait_minutes", "60", "--resume"),
    ]


@pytest.mark.parametrize("value", [value for value in VALUES if value != "not UTF-8"])
def test_the_trainer_on_vertex_ai_gets_every_value_literally(value):
    path = f"gs://b/{VALUES[value]}"
    result = run("vertex/run.sh", *flags("vertex/run.sh", {"--data": path, "--output": path}), "--dry_run")

    assert result.returncode == 0, result.stderr
    description = result.stdout.partition("\n\n")[0]
    job = yaml.safe_load(description)
    assert job == json.loads(description)
    (pool,) = job["workerPoolSpecs"]
    assert pool["containerSpec"]["args"] == ["--data", path, "--output", path, "--resume"]
    assert "serviceAccount" not in job


@pytest.mark.parametrize("value", [value for value in VALUES if value != "not UTF-8"])
def test_vertex_ai_gets_the_base_of_all_folders_literally(value):
    base = f"gs://b/{VALUES[value]}"
    good = {flag: text for flag, text in GOOD["vertex/run.sh"].items() if flag != "--output"}
    words = [word for flag in {**good, "--base_output": base}.items() for word in flag]
    result = run("vertex/run.sh", *words, "--dry_run")

    assert result.returncode == 0, result.stderr
    job = json.loads(result.stdout.partition("\n\n")[0])
    assert job["baseOutputDirectory"] == {"outputUriPrefix": base}


@pytest.mark.parametrize(
    "script, flag",
    [("flink/kubernetes.sh", "--output"), ("kubernetes/trainer.sh", "--data"), ("vertex/run.sh", "--data")],
)
def test_text_that_json_cannot_hold_is_refused(script, flag):
    result = run(script, *flags(script, {flag: "gs://b/a\udcff"}))
    assert result.returncode == 2 and not result.stdout
    assert result.stderr.count("\n") == 1 and "Traceback" not in result.stderr


# --- What is printed for pasting ---

ODD = """it's a "b" $HOME `id`"""


def words(line):
    """The words of a command line, as bash reads them."""
    code = f"words() {{ printf '%s\\0' \"$@\"; }}; words {line}"
    return subprocess.check_output(["bash", "-c", code], text=True).split("\0")[:-1]


def commands(printed):
    """The commands below "Next:", each as its words."""
    lines = printed.partition("Next:\n")[2].replace("\\\n", " ").splitlines()
    return [words(line.strip().partition(" | ")[0]) for line in lines if line.startswith("  ")]


def test_build_template_prints_what_can_be_pasted():
    target = [
        "--repository",
        "registry.example/images",
        "--project",
        ODD,
        "--templates",
        f"gs://b/{ODD}",
        "--tag",
        "v7",
    ]
    result = run("dataflow/build_template.sh", *target, "--dry_run")
    assert result.returncode == 0, result.stderr
    by_gcloud, by_script = commands(result.stdout)
    assert f"--project={ODD}" in by_gcloud
    assert f"--template-file-gcs-location=gs://b/{ODD}/word2vec-beam-v7.json" in by_gcloud
    assert by_script[:3] == ["deploy/dataflow/run.sh", "--project", ODD]
    shown = [words(line[2:]) for line in result.stdout.splitlines() if line.startswith("$ ")]
    assert all(f"--project={ODD}" in command for command in shown)


def test_build_image_prints_what_can_be_pasted():
    target = ["--repository", "registry.example/images", "--project", ODD, "--tag", "v7"]
    result = run("vertex/build_image.sh", *target, "--dry_run")
    assert result.returncode == 0, result.stderr
    on_vertex, on_kubernetes, on_one_machine = commands(result.stdout)
    assert on_vertex[:3] == ["deploy/vertex/run.sh", "--project", ODD]
    assert on_kubernetes[0] == "deploy/kubernetes/trainer.sh" and on_one_machine[:2] == ["docker", "run"]
    assert on_vertex[on_vertex.index("--image") + 1] == "registry.example/images/word2vec-trainer:v7" in on_kubernetes
    assert "registry.example/images/word2vec-trainer:v7" in on_one_machine


def test_the_job_on_vertex_ai_prints_what_can_be_pasted():
    result = run("vertex/run.sh", *flags("vertex/run.sh", {"--output": f"gs://b/{ODD}"}), "--dry_run")
    assert result.returncode == 0, result.stderr
    tensorboard, neighbors = commands(result.stdout)
    assert tensorboard[-1] == f"gs://b/{ODD}/logs" and f"gs://b/{ODD}/vectors.bin" in neighbors


def test_the_job_on_dataflow_prints_what_can_be_pasted():
    target = ["--project", "p", "--region", "r", "--temp_location", "gs://b/t", "--input", "gs://b/a", "--output", ODD]
    result = run("dataflow/run.sh", *target, "--dry_run", VIRTUAL_ENV="/mine")
    assert result.returncode == 0, result.stderr
    assert words(result.stdout.splitlines()[-1][2:])[-2:] == ["--output", ODD]


# --- Scripts in a checkout of their own ---


@pytest.fixture
def checkout(tmp_path):
    """A checkout in a folder with an odd name. Its Python does nothing."""
    folder = tmp_path / ODD
    shutil.copytree(DEPLOY, folder / "deploy")
    for name in ("setup.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    (folder / ".venv" / "bin").mkdir(parents=True)
    write_program(folder / ".venv" / "bin" / "python", "exit 0")
    return folder


def write_program(path, text):
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


def run_in(checkout, script, *args, **environment):
    return subprocess.run(
        [checkout / "deploy" / script, *args], capture_output=True, text=True, env={**os.environ, **environment}
    )


def test_quickstart_prints_what_can_be_pasted(checkout):
    write_program(checkout / "deploy" / "local" / "setup_venv.sh", "exit 0")
    result = run_in(checkout, "local/quickstart.sh", "--input", "a", "--words", "w", "--output", ODD)
    assert result.returncode == 0, result.stderr
    activate, neighbors, tensorboard, again = commands(result.stdout)
    assert activate == ["source", f"{checkout}/.venv/bin/activate"]
    assert f"{ODD}/model/vectors.bin" in neighbors and tensorboard[-1] == f"{ODD}/model/logs"
    assert again[0] == str(checkout / "deploy" / "local" / "quickstart.sh")


PIP = """
while [[ $1 != --dest ]]; do shift; done
name=${3/==/-}
mkdir -p "$2/$name/deps/lib" && touch "$2/$name/deps/lib/flink-dist-1.jar"
tar -czf "$2/$name.tar.gz" -C "$2" "$name"
"""
MAVEN = """
for argument; do
  [[ $argument != -DoutputDirectory=* ]] || folder=${argument#*=}
  [[ $argument != -Dartifact=* ]] || IFS=: read -r _ artifact version <<<"$argument"
done
echo jar >"$folder/$artifact-$version.jar"
"""


@pytest.fixture
def fetching(checkout, tmp_path):
    """A checkout and a PATH, in which pip and Maven fetch files of their own."""
    write_program(checkout / ".venv" / "bin" / "python", PIP)
    (tmp_path / "bin").mkdir()
    write_program(tmp_path / "bin" / "mvn", MAVEN)
    write_program(tmp_path / "bin" / "java", "exit 1")
    return checkout, f"{tmp_path / 'bin'}:{os.environ['PATH']}"


def test_a_file_with_another_sum_is_not_unpacked(fetching):
    checkout, path = fetching
    result = run_in(checkout, "flink/fetch.sh", "--to", checkout / "to", PATH=path)
    assert result.returncode == 1 and not result.stdout
    assert re.search(
        r"fetch.sh: apache-flink-libraries-1.19.3.tar.gz has the SHA-256 \w{64}: expected \w{64};", result.stderr
    )
    assert list((checkout / "to").iterdir()) == []


def test_without_a_known_sum_the_sum_is_told(fetching):
    checkout, path = fetching
    args = ["--to", checkout / "to", "--flink_version", "1.20.9", "--beam_version", "9.9.9"]
    result = run_in(checkout, "flink/fetch.sh", *args, PATH=path)
    assert result.returncode == 0, result.stderr
    sum_of_jar = subprocess.run(["sha256sum"], input="jar\n", capture_output=True, text=True).stdout.split()[0]
    name = "beam-runners-flink-1.20-job-server-9.9.9.jar"
    assert f"no SHA-256 of {name} is known here to compare with; it has {sum_of_jar}\n" in result.stderr
    printed = dict(line.split("=", 1) for line in result.stdout.splitlines())
    assert words(printed["flink_home"]) == [f"{checkout}/to/flink-1.20.9"]
    assert Path(*words(printed["job_server_jar"])).read_text() == "jar\n"


def test_every_known_sum_is_a_sum():
    text = (DEPLOY / "flink" / "fetch.sh").read_text()
    sums = re.findall(r"(?m)^  \[(\S+)\]=(\S+)$", text)
    assert "apache-flink-libraries-1.19.3.tar.gz" in dict(sums)
    assert all(re.fullmatch("[0-9a-f]{64}", value) for _, value in sums)


def start(checkout, directory, path):
    jar = checkout / "lib" / "flink-dist-1.jar"
    jar.parent.mkdir(exist_ok=True)
    jar.touch()
    write_program(checkout / ".venv" / "bin" / "python", "echo 50001 50002 50003")
    args = ["start", "--directory", directory, "--flink_home", checkout, "--job_server_jar", jar]
    return run_in(checkout, "flink/cluster.sh", *args, PATH=path)


def test_the_clusters_configuration_names_its_folder(fetching):
    checkout, path = fetching
    directory = checkout / "#1 - {x}"
    result = start(checkout, directory, path)
    assert result.returncode == 1 and "--memory" in result.stderr  # since there is no real Java
    configuration = yaml.safe_load((directory / "conf" / "config.yaml").read_text())
    assert configuration["io.tmp.dirs"] == f"{directory}/tmp"


@pytest.mark.parametrize("name", ["a\nb", "a:b", "a,b", "a|b"])
def test_folders_that_flink_cannot_name_are_refused(fetching, name):
    checkout, path = fetching
    result = start(checkout, checkout / name, path)
    assert result.returncode == 2 and not result.stdout
    assert result.stderr.startswith("cluster.sh: --directory ") and result.stderr.count("\n") == 1
    assert not (checkout / name).exists()
