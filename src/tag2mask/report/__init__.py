"""Pictures, plots and the HTML page: plain values in, images and text out; no step is known."""
