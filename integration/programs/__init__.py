"""Small programs that are captured and say afterwards what they still have."""
