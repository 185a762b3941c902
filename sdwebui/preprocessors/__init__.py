"""Picture to control map, by the A1111 preprocessor names."""
