"""What ``deploy/`` holds fits the tools that will read it, as far as these can be asked without a cloud."""

import json
import os
import re
import shutil
import subprocess
import sysconfig
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from bitmill.schemas.requests.job import load_job
from tests.support.commands import REPOSITORY

DEPLOY = REPOSITORY / "deploy"

# Field names of KubeRay's ray.io/v1 API (RayJobSpec, RayClusterSpec and the two group specs).
RAY_JOB = {
    "activeDeadlineSeconds",
    "backoffLimit",
    "clusterSelector",
    "entrypoint",
    "entrypointNumCpus",
    "jobId",
    "metadata",
    "rayClusterSpec",
    "runtimeEnvYAML",
    "shutdownAfterJobFinishes",
    "submissionMode",
    "submitterPodTemplate",
    "suspend",
    "ttlSecondsAfterFinished",
}
RAY_CLUSTER = {
    "authOptions",
    "autoscalerOptions",
    "enableInTreeAutoscaling",
    "headGroupSpec",
    "rayVersion",
    "workerGroupSpecs",
}
WORKER_GROUP = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}


def _yaml(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


def _rayjob() -> tuple[dict[str, Any], dict[str, Any]]:
    config, job = yaml.safe_load_all((DEPLOY / "rayjob.yaml").read_text())
    return config, job


def _pins() -> dict[str, str]:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def test_deploy_holds_files_and_no_package():
    assert not list(DEPLOY.rglob("*.py"))
    assert all(path.is_file() for path in DEPLOY.iterdir())


def test_the_cluster_file_fits_rays_own_schema():
    schema = json.loads((resources.files("ray.autoscaler") / "ray-schema.json").read_text())
    jsonschema.validate(_yaml("ray-cluster.yaml"), schema)


def test_rays_launcher_takes_the_cluster_file():
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(_yaml("ray-cluster.yaml"))
    validate_config(prepared)
    types = prepared["available_node_types"]
    assert types[prepared["head_node_type"]]["resources"]["CPU"] == 0
    assert (
        sum(kind["max_workers"] for name, kind in types.items() if name != "head") <= prepared["max_workers"]
    )


def test_workers_are_spot_and_the_head_is_not():
    types = _yaml("ray-cluster.yaml")["available_node_types"]
    spot = {name for name, kind in types.items() if "InstanceMarketOptions" in kind["node_config"]}
    assert spot == {"gpu", "decoders"}


def test_every_ray_of_the_cluster_file_asks_for_the_token():
    cluster = _yaml("ray-cluster.yaml")
    commands = cluster["head_start_ray_commands"] + cluster["worker_start_ray_commands"]
    starts = [command for command in commands if "ray start" in command]
    assert len(starts) == 2
    assert all(command.startswith("RAY_AUTH_MODE=token ") for command in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0]


def test_the_rayjob_has_kuberays_fields():
    _, job = _rayjob()
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", job["metadata"]["name"])
    spec = job["spec"]
    assert set(spec) <= RAY_JOB
    cluster = spec["rayClusterSpec"]
    assert set(cluster) <= RAY_CLUSTER
    assert {"headGroupSpec", "workerGroupSpecs"} <= set(cluster)
    assert cluster["authOptions"] == {"mode": "token"}
    for group in cluster["workerGroupSpecs"]:
        assert set(group) == WORKER_GROUP
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        # A map of strings to strings, which the API server insists on.
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        (container,) = group["template"]["spec"]["containers"]
        assert container["resources"]["requests"] == container["resources"]["limits"]


def test_the_job_in_the_rayjob_is_a_job_and_is_found_where_it_is_mounted():
    config, job = _rayjob()
    load_job(config["data"]["job.yaml"], origin="rayjob.yaml")
    pod = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    (volume,) = pod["volumes"]
    (mount,) = pod["containers"][0]["volumeMounts"]
    assert (volume["configMap"]["name"], volume["name"]) == (config["metadata"]["name"], mount["name"])
    assert f"{mount['mountPath']}/job.yaml --address auto" in job["spec"]["entrypoint"]


def test_one_ray_version_in_all_of_it():
    version = _pins()["ray"]
    assert _rayjob()[1]["spec"]["rayClusterSpec"]["rayVersion"] == version
    assert f"rayproject/ray:{version}-" in (DEPLOY / "Dockerfile").read_text()


def test_the_image_copies_what_is_there_and_all_that_is_needed():
    copied: set[str] = set()
    for line in re.findall(r"^COPY (.+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE):
        *sources, _ = line.split()
        copied |= {source.rstrip("/") for source in sources}
    assert all((REPOSITORY / source).exists() for source in copied)
    rooms = {link.name for link in (REPOSITORY / "bitmill").iterdir() if link.is_symlink()}
    assert rooms | {"bitmill", "pyproject.toml", "README.md", "LICENSE", "constraints.txt"} == copied
    allowed = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert {line[1:] for line in allowed if line.startswith("!")} == copied
    assert "*" in allowed


@pytest.mark.parametrize(
    ("linter", "name"),
    [
        ("hadolint", "Dockerfile"),
        ("shellcheck", "slurm.sbatch"),
        ("shellcheck", "prove_image.sh"),
        ("shellcheck", "release.sh"),
    ],
)
def test_it_passes_its_linter(linter, name):
    # Beside this Python, since a virtual environment need not be activated.
    program = shutil.which(linter, path=os.pathsep.join((sysconfig.get_path("scripts"), os.environ["PATH"])))
    assert program is not None, f"{linter} is not installed"
    done = subprocess.run([program, str(DEPLOY / name)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["Dockerfile", "ray-cluster.yaml", "rayjob.yaml", "slurm.sbatch"])
def test_the_page_tells_of_each_file_and_none_holds_a_credential(name):
    assert f"`deploy/{name}`" in (REPOSITORY / "docs" / "deploy.md").read_text()
    text = (DEPLOY / name).read_text()
    assert not re.search(
        r"(?i)(secret_access_key|aws_access_key|password|token)\s*[:=]\s*['\"]?[A-Za-z0-9+/]{16,}", text
    )
    assert Path(name).name in {path.name for path in DEPLOY.iterdir()}
