"""A rehearsal with the real programs: each fault is brought about in a service of its own, and each
alert has to reach whom it is for, and to end with its fault."""
