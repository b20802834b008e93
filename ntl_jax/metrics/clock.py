# SPDX-License-Identifier: Apache-2.0
"""Time spent in each part of an iteration."""

import time


class Clock:
    """Seconds spent in each part of an iteration."""

    def __init__(self):
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, part: str) -> None:
        """Adds the time since the last lap to this part."""
        now = time.perf_counter()
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self._last
        self._last = now
