"""The payment flow over `Durable`: a shop that persists nothing by hand."""
