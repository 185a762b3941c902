"""sdwebui: a Stable Diffusion web UI server. The map of the house is `sdwebui/README.md`."""

__version__ = "0.1.0"
