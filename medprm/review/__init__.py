"""The expert web application: who sees which steps, what they say of them, and what follows for the records."""
