# SPDX-License-Identifier: Apache-2.0
"""Asking a trained policy: which one a command names, its answers to questions, and how these are shown."""
