# SPDX-License-Identifier: Apache-2.0
"""The formats of files and data sets, each read as rows."""
