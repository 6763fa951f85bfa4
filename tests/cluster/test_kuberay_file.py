"""kuberay.yaml against Kubernetes' own types, as its Python client has them, and the KubeRay fields that it uses.

No package ships KubeRay's resource definitions, so these fields are listed here, from ray-operator/apis/ray/v1 of
KubeRay 1.5.1. A field that is not listed is an error, as it is to the API server with strict validation.
"""

from __future__ import annotations

import copy
import re
import shlex
from pathlib import Path

import pytest
import yaml

from narl.cli.main import build_parser
from narl.config.search_space import SearchSpace

CHECKOUT = Path(__file__).parents[2]
# Field -> type; required ones end in "!".
KUBERAY = {
    "RayCluster": {"apiVersion!": "str", "kind!": "str", "metadata!": "V1ObjectMeta", "spec!": "RayClusterSpec"},
    "RayJob": {"apiVersion!": "str", "kind!": "str", "metadata!": "V1ObjectMeta", "spec!": "RayJobSpec"},
    "RayClusterSpec": {
        "rayVersion": "str",
        "authOptions": "AuthOptions",
        "enableInTreeAutoscaling": "bool",
        "autoscalerOptions": "AutoscalerOptions",
        "headGroupSpec!": "HeadGroupSpec",
        "workerGroupSpecs": "List[WorkerGroupSpec]",
    },
    "AuthOptions": {"mode": "str"},
    "AutoscalerOptions": {"idleTimeoutSeconds": "int"},
    "HeadGroupSpec": {"rayStartParams!": "Dict[str, str]", "template!": "V1PodTemplateSpec"},
    "WorkerGroupSpec": {
        "groupName!": "str",
        "replicas": "int",
        "minReplicas!": "int",
        "maxReplicas!": "int",
        "rayStartParams!": "Dict[str, str]",
        "template!": "V1PodTemplateSpec",
    },
    "RayJobSpec": {
        "entrypoint": "str",
        "clusterSelector": "Dict[str, str]",
        "submitterPodTemplate": "V1PodTemplateSpec",
    },
}
PLAIN = {"str": str, "int": int, "bool": bool, "float": (int, float), "object": object}


def problems(value: object, kind: str, where: str = "") -> list[str]:
    """What the API server would refuse in `value`, a resource of type `kind`."""
    if match := re.fullmatch(r"List\[(.*)\]", kind, re.IGNORECASE):
        if not isinstance(value, list):
            return [f"{where}: not a list"]
        return [p for i, item in enumerate(value) for p in problems(item, match[1], f"{where}[{i}]")]
    if match := re.fullmatch(r"Dict\[\w+, (.*)\]", kind, re.IGNORECASE):
        if not isinstance(value, dict):
            return [f"{where}: not a mapping"]
        return [p for key, item in value.items() for p in problems(item, match[1], f"{where}.{key}")]
    if kind in PLAIN:
        right = isinstance(value, PLAIN[kind]) and not (kind in ("int", "float") and isinstance(value, bool))
        return [] if right else [f"{where}: {value!r} is no {kind}"]
    if not isinstance(value, dict):
        return [f"{where}: not a mapping"]
    fields, required = fields_of(kind)
    found = [f"{where}.{key}: no field of {kind}" for key in value if key not in fields]
    found += [f"{where}.{key}: missing" for key in required if key not in value]
    return found + [p for key in value if key in fields for p in problems(value[key], fields[key], f"{where}.{key}")]


def fields_of(kind: str) -> tuple[dict[str, str], set[str]]:
    """Fields of a type by their names in YAML, with their types; and those that must be there."""
    if kind in KUBERAY:
        return {key.rstrip("!"): t for key, t in KUBERAY[kind].items()}, {
            key.rstrip("!") for key in KUBERAY[kind] if key.endswith("!")
        }
    from kubernetes import client

    model = getattr(client, kind)
    return {model.attribute_map[name]: t for name, t in model.openapi_types.items()}, set()


@pytest.fixture(scope="module")
def resources() -> dict[str, dict]:
    """By kind and name."""
    documents = yaml.safe_load_all((CHECKOUT / "cluster" / "kuberay.yaml").read_text())
    return {f"{document['kind']}/{document['metadata']['name']}": document for document in documents}


def kind_of(name: str) -> str:
    kind = name.partition("/")[0]
    return kind if kind in KUBERAY else f"V1{kind}"


def test_every_field_exists_and_has_its_type(resources):
    assert {name: found for name, r in resources.items() if (found := problems(r, kind_of(name)))} == {}


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("RayCluster/narl", ("spec", "workerGroupSpec"), []),
        ("RayCluster/narl", ("spec", "headGroupSpec", "template", "spec", "volume"), []),
        ("RayCluster/narl", ("spec", "headGroupSpec", "rayStartParams", "num-cpus"), 0),
        (
            "RayCluster/narl",
            ("spec", "headGroupSpec", "template", "spec", "containers", 0, "ports", 0, "containerPort"),
            "6379",
        ),
        ("PersistentVolumeClaim/narl-data", ("spec", "resources", "requests", "storage"), 200),
        ("RayJob/narl-search", ("spec", "clusterSelector"), "narl"),
    ],
)
def test_a_slip_of_the_pen_is_found(resources, name, path, value):
    changed = copy.deepcopy(resources[name])
    at = changed
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    assert len(problems(changed, kind_of(name))) == 1


def pods(resources) -> dict[str, dict]:
    spec = resources["RayCluster/narl"]["spec"]
    groups = {group["groupName"]: group for group in spec["workerGroupSpecs"]}
    return {name: group["template"]["spec"] for name, group in {"head": spec["headGroupSpec"], **groups}.items()}


def test_results_are_the_heads_and_data_is_everybodys(resources):
    claims = {name.partition("/")[2] for name in resources if name.startswith("PersistentVolumeClaim/")}
    claimed = {}
    for name, pod in pods(resources).items():
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        mounts = [mount for container in pod["containers"] for mount in container["volumeMounts"]]
        assert {mount["name"] for mount in mounts} == set(volumes)
        claimed[name] = {
            v["persistentVolumeClaim"]["claimName"] for v in volumes.values() if "persistentVolumeClaim" in v
        }
        assert claimed[name] <= claims
    assert claimed == {"head": {"narl-results", "narl-data"}, "gpu": {"narl-data"}}
    modes = {name: resources[f"PersistentVolumeClaim/{name}"]["spec"]["accessModes"] for name in claims}
    assert modes == {"narl-results": ["ReadWriteOnce"], "narl-data": ["ReadWriteMany"]}


def test_one_image_one_ray_and_a_token(resources):
    job = resources["RayJob/narl-search"]["spec"]
    containers = [
        c for pod in [*pods(resources).values(), job["submitterPodTemplate"]["spec"]] for c in pod["containers"]
    ]
    assert len({container["image"] for container in containers}) == 1
    spec = resources["RayCluster/narl"]["spec"]
    assert f"ray=={spec['rayVersion']}\n" in (CHECKOUT / "constraints.txt").read_text()
    assert spec["authOptions"] == {"mode": "token"}


def test_gpus_are_asked_for_as_kubernetes_wants_them(resources):
    (worker,) = pods(resources)["gpu"]["containers"]
    limits, requests = worker["resources"]["limits"], worker["resources"]["requests"]
    assert limits["nvidia.com/gpu"] == requests["nvidia.com/gpu"] == "1"


def test_the_job_searches_on_that_cluster(resources):
    spec = resources["RayJob/narl-search"]["spec"]
    assert spec["clusterSelector"] == {"ray.io/cluster": resources["RayCluster/narl"]["metadata"]["name"]}
    shell, option, script = shlex.split(spec["entrypoint"])
    change, command = script.split(" && ")
    (head,) = pods(resources)["head"]["containers"]
    assert (shell, option, change) == ("sh", "-c", f"cd {head['workingDir']}")
    args = build_parser().parse_args(shlex.split(command)[1:])
    assert (args.resume, args.ray_address) == (True, "auto")
    SearchSpace.load(CHECKOUT / args.space.relative_to("/narl"))
