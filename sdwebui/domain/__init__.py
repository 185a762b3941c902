"""What a request, a prompt, an infotext and an error are: plain data and rules. No torch, gradio or SQL."""
