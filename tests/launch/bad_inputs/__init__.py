# SPDX-License-Identifier: Apache-2.0
"""Tables of wrong command lines, one file per area, and what the answer to each must name."""
