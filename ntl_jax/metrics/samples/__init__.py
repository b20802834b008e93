# SPDX-License-Identifier: Apache-2.0
"""The log of samples, ``samples.jsonl.gz``: what it holds, the thread that writes it, and its reader."""
