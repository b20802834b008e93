# SPDX-License-Identifier: Apache-2.0
"""Finding a reward function and calling it without trusting it; its public names are in `ntl_jax.rewards`.

Imports nothing else of this package: a worker's process, which imports this, starts in a fraction of a second.
"""
