"""cluster.yaml as Ray's launcher takes it, and the machines that it asks AWS for (moto in AWS's place)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).parents[2]
FILE, PAGE = CHECKOUT / "cluster" / "cluster.yaml", CHECKOUT / "docs" / "cluster" / "aws.md"


@pytest.fixture(scope="module")
def prepared():
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(yaml.safe_load(FILE.read_text()))
    validate_config(config)
    return config


@pytest.fixture(scope="module")
def account(tmp_path_factory):
    """An empty account with narl's two instance profiles, as the page has them made."""
    import boto3
    from moto import mock_aws

    home = tmp_path_factory.mktemp("home")
    (home / ".ssh").mkdir()
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setenv("HOME", str(home))
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        iam = boto3.client("iam", region_name="us-east-1")
        for name in ("narl-head", "narl-worker"):
            iam.create_instance_profile(InstanceProfileName=name)
        yield boto3


@pytest.fixture(scope="module")
def launched(account, prepared):
    """(instances by node type, config): one node of each type, launched as Ray launches them."""
    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    config = AWSNodeProvider.fillout_available_node_types_resources(bootstrap_aws(prepared))
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    for name, node_type in config["available_node_types"].items():
        provider.create_node(dict(node_type["node_config"]), {"ray-user-node-type": name}, 1)
    found = account.client("ec2", region_name=config["provider"]["region"]).describe_instances()["Reservations"]
    instances = [instance for reservation in found for instance in reservation["Instances"]]
    return {tag["Value"]: i for i in instances for tag in i["Tags"] if tag["Key"] == "ray-user-node-type"}, config


def test_head_is_on_demand_and_gpu_workers_are_spot_from_none(launched):
    instances, config = launched
    head, worker = config["available_node_types"]["head"], config["available_node_types"]["gpu_worker"]
    assert instances["head"].get("InstanceLifecycle") is None
    assert instances["gpu_worker"]["InstanceLifecycle"] == "spot"
    assert head["resources"].get("GPU", 0) == 0
    assert worker["resources"]["GPU"] == 1  # which the search asks for before any such node is alive
    assert worker["min_workers"] == 0 < worker["max_workers"]


def test_each_node_has_its_own_profile_and_hides_it_from_plain_requests(launched):
    instances, _ = launched
    for name, profile in (("head", "narl-head"), ("gpu_worker", "narl-worker")):
        assert instances[name]["IamInstanceProfile"]["Arn"].endswith(f"instance-profile/{profile}")
        assert instances[name]["MetadataOptions"]["HttpTokens"] == "required"


def test_nothing_but_ssh_is_open_to_the_outside(account, launched):
    instances, config = launched
    ec2 = account.client("ec2", region_name=config["provider"]["region"])
    ids = {group["GroupId"] for instance in instances.values() for group in instance["SecurityGroups"]}
    rules = [
        rule
        for group in ec2.describe_security_groups(GroupIds=[*ids])["SecurityGroups"]
        for rule in group["IpPermissions"]
    ]
    assert {(rule["FromPort"], rule["ToPort"]) for rule in rules if rule["IpRanges"] or rule["Ipv6Ranges"]} == {
        (22, 22)
    }
    inside = [pair["GroupId"] for rule in rules for pair in rule["UserIdGroupPairs"]]
    assert set(inside) == ids


def test_policies_of_the_page_are_the_least(launched):
    """Actions are named one by one, S3 is one bucket's, and only the cluster's own machines may be ended."""
    _, config = launched
    policies = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)]
    statements = [statement for policy in policies for statement in policy["Statement"]]
    actions = {action: s for s in statements for action in s["Action"]}
    assert not [action for action in actions if "*" in action]
    assert {action for action in actions if action.startswith("s3:")} == {
        *("s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload")
    }
    for action, statement in actions.items():
        resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        if action.startswith("s3:"):
            assert all(resource.startswith("arn:aws:s3:::BUCKET") for resource in resources)
        if "*" in resources:
            assert action.startswith("ec2:Describe")
    tag = {"StringEquals": {"aws:ResourceTag/ray-cluster-name": config["cluster_name"]}}
    assert actions["ec2:TerminateInstances"]["Condition"] == tag
    assert actions["iam:PassRole"]["Resource"].endswith(":role/narl-worker")
