"""Orders that wait for three documents, and for a manager who has a day to decide."""
