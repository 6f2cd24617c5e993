"""An app at a portal: its tokens, its events, its pages, and its life from installation to removal."""
