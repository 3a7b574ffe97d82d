"""Examples that run: `python -m examples.payment_webhook`, from the root of the repository."""
