"""A checkout that waits for its payment, in a shop that is killed meanwhile."""
