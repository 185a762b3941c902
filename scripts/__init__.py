"""Thin commands of the project; the program itself is `sdwebui/`."""
