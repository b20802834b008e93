# SPDX-License-Identifier: Apache-2.0
"""What a divergence log says: it is read, asked, and concluded from; tables for the terminal, and a page."""
