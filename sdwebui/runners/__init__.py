"""Who owns a device: a subprocess for each (`local.py`), and the worker's own start-up."""
