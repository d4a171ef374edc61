# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""The Celery application of the benches: redis by its unix socket, as broker and for results."""
import os

from celery import Celery

SOCKET = "redis+socket://" + os.environ["REDIS_SOCKET"]
app = Celery("celery_app", broker=SOCKET, backend=SOCKET)
app.conf.update(worker_prefetch_multiplier=64, task_acks_late=False, broker_connection_retry_on_startup=True,
                worker_hijack_root_logger=False, task_default_queue="bench")


@app.task(name="noop")
def noop(_i):
    return None
