"""HTTP: what the API offers, who may use it, and how it says what is wrong. Never imports torch."""
