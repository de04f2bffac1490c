"""bitmill's own convolutional tokenizer of images and clips: causal in time, frames of any size."""
