# SPDX-License-Identifier: Apache-2.0
"""Number Token Loss and PPO for JAX. Import the subpackage you need: this module loads nothing."""
