# SPDX-License-Identifier: Apache-2.0
"""What an update changes and how: state, optimizer, objectives and the jitted step. Pure functions on the device."""
