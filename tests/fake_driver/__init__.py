"""The fake NVIDIA driver, in C; README.md says what its script may contain."""
