"""The vendor's API: where it is, what a call answers, and how an answer is read."""
