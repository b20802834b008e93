# SPDX-License-Identifier: Apache-2.0
"""Hugging Face checkpoints: their configuration, names and files, and the way from and to a decoder."""
