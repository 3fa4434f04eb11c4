"""Published sets of images and questions, read into records."""
