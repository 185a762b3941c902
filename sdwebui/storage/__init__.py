"""Database, image files and the model catalogue, behind the store Protocols of `sdwebui.ports`."""
