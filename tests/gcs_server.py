# SPDX-License-Identifier: Apache-2.0
"""A server on this machine that speaks Google Cloud Storage's API: Google's own testbench for its clients.

pipx install git+https://github.com/googleapis/storage-testbench installs its command.
"""

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

COMMAND = "storage-testbench"
MISSING = [name for name in ("gcsfs",) if importlib.util.find_spec(name) is None]
MISSING += [COMMAND] if shutil.which(COMMAND) is None else []
"""What tests with a bucket need and is not installed."""
START_S = 30


@contextlib.contextmanager
def gcs_server(bucket: str) -> Iterator[dict[str, str]]:
    """Within this context the server answers, and has an empty bucket.

    Returns:
        The variables by which gcsfs, Google's client and tensorstore use it.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # It starts a process that restarts when its files change: both are ended.
    words, nowhere = [COMMAND, f"--port={port}"], subprocess.DEVNULL
    server = subprocess.Popen(words, start_new_session=True, stdout=nowhere, stderr=nowhere)
    address = f"http://localhost:{port}"
    try:
        _make_bucket(address, bucket)
        yield {
            "STORAGE_EMULATOR_HOST": address,
            "TENSORSTORE_GCS_HTTP_URL": address,
            "GOOGLE_CLOUD_PROJECT": "mine",
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # it asks Google for the bucket's kind
        }
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _make_bucket(address: str, name: str) -> None:
    request = urllib.request.Request(
        f"{address}/storage/v1/b?project=mine",
        json.dumps({"name": name}).encode(),
        {"Content-Type": "application/json"},
    )
    until = time.monotonic() + START_S
    while True:
        try:
            with urllib.request.urlopen(request):
                return
        except urllib.error.URLError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
