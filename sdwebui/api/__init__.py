"""The HTTP edge: the guard in front of everything, login, A1111's routes, the durable job API, health."""
