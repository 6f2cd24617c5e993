"""The control interface: POST /control/‹verb› for tests and demos, and the page that shows the logs."""
