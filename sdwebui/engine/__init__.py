"""Everything that turns a `ResolvedRequest` into pixels on one device. Read `generate.py` first."""
