"""How a REST request travels: hosts, parameters in PHP's forms, checks, batches and answers."""
