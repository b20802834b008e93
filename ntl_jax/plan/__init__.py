# SPDX-License-Identifier: Apache-2.0
"""What a run takes on devices that are not at hand: memory, arithmetic and traffic, and what a compiler says of it."""
