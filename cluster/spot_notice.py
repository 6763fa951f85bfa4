"""Turns EC2's notice that a spot machine will be taken into Ray's that its node is about to go.

cluster.yaml starts it on every worker, where it waits in a few MB. Once there is notice, the trials of the node keep
their state at the end of each epoch, and the node gets no more of them (narl/search/draining.py).

    python spot_notice.py HEAD:6379

`$AWS_EC2_METADATA_SERVICE_ENDPOINT`, if set, is asked in place of http://169.254.169.254.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import datetime
from urllib.error import HTTPError
from urllib.request import Request, urlopen

METADATA = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://169.254.169.254").rstrip("/")
# As AWS advises.
ASK_EVERY = 5.0
# Taken off what AWS leaves, so that Ray does not wait for a machine that is gone.
MARGIN = 10


def main() -> None:
    address = sys.argv[1]
    while (seconds := seconds_left()) is None:
        time.sleep(ASK_EVERY)
    ip = ask("local-ipv4")
    print(f"{ip} will be taken in {seconds} s", flush=True)
    deadline = ["--deadline-remaining-seconds", str(max(1, seconds - MARGIN))]
    reason = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "EC2 takes this spot machine"]
    drain = ["drain-node", "--address", address, "--node-id", node_id(address, ip), *reason, *deadline]
    sys.exit(subprocess.run([sys.executable, "-m", "ray.scripts.scripts", *drain], check=False).returncode)


def seconds_left() -> int | None:
    """Until the machine is taken; None as long as nobody wants it, or if the metadata cannot be read for a moment."""
    try:
        notice = json.loads(ask("spot/instance-action"))
    except OSError as error:
        if not isinstance(error, HTTPError) or error.code != 404:  # 404 is the answer in quiet times
            print(f"no metadata: {error}", flush=True)
        return None
    return int(datetime.fromisoformat(notice["time"]).timestamp() - time.time())


def ask(path: str) -> str:
    """An item of the instance's metadata, by IMDSv2.

    Raises:
        OSError: no answer, or none to that.
    """
    lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    with urlopen(Request(f"{METADATA}/latest/api/token", method="PUT", headers=lifetime), timeout=5) as answer:
        token = answer.read().decode()
    request = Request(f"{METADATA}/latest/meta-data/{path}", headers={"X-aws-ec2-metadata-token": token})
    with urlopen(request, timeout=5) as answer:
        return answer.read().decode()


def node_id(address: str, ip: str) -> str:
    """Ray's name for this machine."""
    import ray

    ray.init(address=address, log_to_driver=False)
    return next(row["NodeID"] for row in ray.nodes() if row["Alive"] and row["NodeManagerAddress"] == ip)


if __name__ == "__main__":
    main()
