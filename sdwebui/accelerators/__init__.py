"""One file, one way to run a UNet faster. Siblings do not know each other; `ports.Accelerator` is the door."""
