"""The house's own backend: the same network computed with fewer, larger operations. See `backend.py`."""
