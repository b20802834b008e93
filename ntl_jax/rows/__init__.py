# SPDX-License-Identifier: Apache-2.0
"""Prompts and responses as rectangular rows, and forward passes over them."""
