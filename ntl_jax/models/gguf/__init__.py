# SPDX-License-Identifier: Apache-2.0
"""GGUF files, llama.cpp's format: one becomes a Hugging Face folder, which everything else reads."""
