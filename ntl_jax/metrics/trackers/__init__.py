# SPDX-License-Identifier: Apache-2.0
"""Services that metrics are sent to; each package is imported by one file."""
