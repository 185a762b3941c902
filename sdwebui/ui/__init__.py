"""The Gradio page: `page` builds it, `mount` puts it into the web application, one file a tab."""
