"""Evidence in, words out: which line blocked, in which call, why, and what to do. Emits nothing."""
