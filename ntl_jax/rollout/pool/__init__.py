# SPDX-License-Identifier: Apache-2.0
"""Sampling with a pool of engines in other processes, over Ray."""
