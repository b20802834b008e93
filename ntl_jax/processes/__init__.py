# SPDX-License-Identifier: Apache-2.0
"""Training in several processes: starting together, arrays over all devices, agreeing on values, ending together."""
