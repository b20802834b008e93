# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a run, and what a resumed run must have in common with it."""
