"""The demo checkpoints: pictures are drawn by program, and small Stable Diffusion models are trained on them."""
