# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a run, and checks that a resumed run matches them."""
