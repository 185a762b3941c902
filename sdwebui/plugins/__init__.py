"""Every extension hook on one page, and the loader with an error boundary for each extension."""
