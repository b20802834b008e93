# SPDX-License-Identifier: Apache-2.0
"""Sampling in this process with the trainer's own decoder."""
