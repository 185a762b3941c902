"""The story of a job: submit, resolve, queue, run, save, record. Speaks only to `ports` and `domain`."""
