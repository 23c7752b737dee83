"""Alert states: what is wrong enough, for long enough, that a person should look."""
