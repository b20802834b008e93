# SPDX-License-Identifier: Apache-2.0
"""The stages of training, and where policy optimization gets its samples."""
