"""Published step-labelled sets, read into records and written from them."""
