"""What a test makes happen to a portal: faults, limits, modes, and the table of control verbs."""
