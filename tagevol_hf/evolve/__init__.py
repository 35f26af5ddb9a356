"""Writing harder instructions, and answers to them."""
