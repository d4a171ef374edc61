# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Puts N no-op tasks into Celery's queue: celery_load.py N."""
import sys

from celery_app import app, noop

with app.producer_or_acquire() as producer:
    for i in range(int(sys.argv[1])):
        noop.apply_async((i,), producer=producer)
