"""python deploy/vertex/pipeline.py > deploy/vertex/pipeline.yaml

Prints the pipeline for Vertex AI Pipelines: a Flex Template of Dataflow makes the dataset, a custom job trains on it,
and the model goes to the Model Registry and, if asked for, to an endpoint. run_pipeline.sh starts it.

Only this program needs the packages of requirements-pipeline.txt. Install them into an environment of their own.
"""

import sys
import tempfile
from pathlib import Path

from google_cloud_pipeline_components.types.artifact_types import UnmanagedContainerModel, VertexEndpoint
from google_cloud_pipeline_components.v1.custom_job import CustomTrainingJobOp
from google_cloud_pipeline_components.v1.dataflow import DataflowFlexTemplateJobOp
from google_cloud_pipeline_components.v1.endpoint import ModelDeployOp
from google_cloud_pipeline_components.v1.model import ModelUploadOp
from google_cloud_pipeline_components.v1.wait_gcp_resources import WaitGcpResourcesOp
from kfp import compiler, dsl

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import SERVING_IMAGE  # noqa: E402


@dsl.pipeline(name="word2vec", description="Text to vectors: Dataflow, a custom job, and the Model Registry.")
def word2vec(
    region: str,
    template: str,
    template_parameters: dict[str, str],
    temp_location: str,
    dataset: str,
    worker_pool_specs: list[dict[str, str]],
    saved_model: str,
    max_workers: int = 0,
    timeout: str = "86400s",
    strategy: str = "STANDARD",
    service_account: str = "",
    network: str = "",
    tensorboard: str = "",
    base_output: str = "",
    model_name: str = "word2vec",
    serving_image: str = SERVING_IMAGE,
    endpoint: str = "",
    endpoint_uri: str = "",
    serving_machine_type: str = "n1-standard-4",
):
    """Makes a dataset, trains on it and uploads the model.

    Args:
        region: where all jobs run, such as us-central1.
        template: the Flex Template's file in Cloud Storage.
        template_parameters: flags of the pipeline by name; among them are input, and output, which is the dataset.
        temp_location: a gs:// folder for Dataflow's temporary files.
        dataset: the gs:// folder of the dataset.
        worker_pool_specs: the machines of the training and the trainer's flags, in the names of the API's own types.
        saved_model: the gs:// folder saved_model of the model.
        max_workers: the largest number of Dataflow's workers; with 0, Dataflow chooses it.
        timeout: how long the training may take, in seconds, such as 86400s.
        strategy: STANDARD, or SPOT for spare machines.
        service_account: the account that both jobs act as; if it is empty, each has its service's default account.
        network: the network that the training job is connected to.
        tensorboard: the TensorBoard that gets the training's logs.
        base_output: the gs:// folder below which Vertex AI tells the trainer to write, or nothing.
        model_name: the name that the Model Registry shows.
        serving_image: the container that serves the model.
        endpoint: projects/P/locations/R/endpoints/N, which then answers with this model; if it is empty, none does.
        endpoint_uri: the same endpoint as an address of the API.
        serving_machine_type: the machine that serves the model.
    """
    job = DataflowFlexTemplateJobOp(
        location=region,
        container_spec_gcs_path=template,
        parameters=template_parameters,
        temp_location=temp_location,
        max_workers=max_workers,
        service_account_email=service_account,
    ).set_display_name("Start Dataflow")
    # The step above ends as soon as Dataflow has the job. This one ends with the job, and fails if the job fails.
    written = WaitGcpResourcesOp(gcp_resources=job.outputs["gcp_resources"]).set_display_name("Wait for the dataset")
    examples = dsl.importer(artifact_uri=dataset, artifact_class=dsl.Dataset, reimport=True)
    examples.after(written).set_display_name("Dataset")

    training = CustomTrainingJobOp(
        display_name=model_name,
        location=region,
        worker_pool_specs=worker_pool_specs,
        timeout=timeout,
        strategy=strategy,
        restart_job_on_worker_restart=True,
        service_account=service_account,
        network=network,
        tensorboard=tensorboard,
        base_output_directory=base_output,
    )
    training.after(examples).set_display_name("Train")

    files = dsl.importer(
        artifact_uri=saved_model,
        artifact_class=UnmanagedContainerModel,
        reimport=True,
        metadata={"containerSpec": {"imageUri": serving_image}},
    )
    files.after(training).set_display_name("Model")
    upload = ModelUploadOp(display_name=model_name, location=region, unmanaged_container_model=files.output)
    upload.set_display_name("Upload to the Model Registry")
    steps = [job, written, examples, training, files, upload]

    with dsl.If(endpoint != "", name="an-endpoint-is-given"):
        target = dsl.importer(
            artifact_uri=endpoint_uri,
            artifact_class=VertexEndpoint,
            reimport=True,
            metadata={"resourceName": endpoint},
        ).set_display_name("Endpoint")
        deployed = ModelDeployOp(
            model=upload.outputs["model"],
            endpoint=target.output,
            deployed_model_display_name=model_name,
            dedicated_resources_machine_type=serving_machine_type,
            dedicated_resources_min_replica_count=1,
            dedicated_resources_max_replica_count=1,
            traffic_split={"0": "100"},  # 0 is the model that is being deployed
        ).set_display_name("Deploy to the endpoint")
        steps += [target, deployed]

    # Vertex AI would skip a step whose parameters are those of an earlier run. The parameters name files, and other
    # text may be in the same files by now.
    for step in steps:
        step.set_caching_options(False)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pipeline.yaml")
        compiler.Compiler().compile(word2vec, str(path))
        sys.stdout.write(path.read_text())
