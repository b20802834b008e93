# SPDX-License-Identifier: Apache-2.0
"""What a run writes to its folder while it runs."""
