"""Runs the program of a pipeline's component, with stand-ins for Google's services: python kfp_component.py < JSON.

The JSON has the program's module, its arguments, and `answers`: what each service answers in turn, which is taken for
success. It prints what the program asked for as a JSON list of [address, body].

It runs in an environment with google-cloud-pipeline-components, and without this project.
"""

import importlib
import json
import sys
from types import SimpleNamespace
from unittest import mock

import google.auth
import requests
from google.cloud import aiplatform
from google.cloud.aiplatform_v1.types import CustomJob, JobState

given = json.load(sys.stdin)
asked = []
answers = iter(given["answers"])


def answer_request(session, method, url, data=None, **_):
    """Stands for every service that is asked over HTTP."""
    asked.append([url, json.loads(data)])
    response = requests.Response()
    response.status_code = 200
    response._content = json.dumps(next(answers)).encode()
    return response


class JobService:
    """Stands for the service of custom jobs. It takes a job as the client does, which knows the types."""

    def __init__(self, **_):
        pass

    def create_custom_job(self, parent, custom_job):
        """Notes the job."""
        asked.append([parent, CustomJob.to_dict(CustomJob(custom_job), use_integers_for_enums=False)])
        return SimpleNamespace(name=f"{parent}/customJobs/1")

    def get_custom_job(self, **_):
        """Says that the job is done."""
        return SimpleNamespace(state=JobState.JOB_STATE_SUCCEEDED)


credentials = SimpleNamespace(valid=True, token="a-token")
with (
    mock.patch.object(google.auth, "default", lambda **_: (credentials, "some-project")),
    mock.patch.object(requests.Session, "request", answer_request),
    mock.patch.object(aiplatform.gapic, "JobServiceClient", JobService),
):
    importlib.import_module(given["module"]).main(given["arguments"])
print(json.dumps(asked))
