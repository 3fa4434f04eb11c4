"""The pages of the review application, and what their scripts ask for: a router a module."""
