# SPDX-License-Identifier: Apache-2.0
"""Writes metrics for TensorBoard to ``tensorboard/`` in the run folder: ``tensorboard --logdir runs`` shows all runs.

Event files are written directly: neither TensorFlow nor torch is needed.
"""

import pathlib
import time
from collections.abc import Mapping

from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportMissingImports]
from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportMissingImports]
from tensorboard.summary.writer.event_file_writer import EventFileWriter  # pyright: ignore[reportMissingImports]

from ntl_jax.metrics.trackers.tracker import Tracker


class TensorBoardTracker(Tracker):
    """Appends scalars to its own event file.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self._writer = EventFileWriter(str(folder / "tensorboard"))

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        values = [Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()]
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))
        self._writer.flush()

    def cut_back(self, step: int) -> None:
        # A session that starts at a step makes TensorBoard drop this step and later ones from earlier files.
        start = SessionLog(status=SessionLog.START)
        self._writer.add_event(Event(wall_time=time.time(), step=step + 1, session_log=start))

    def close(self) -> None:
        self._writer.close()
