"""A translation that waits for its reviewer: a page, a click, an hour's patience."""
